package pipelinetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Topic is a topic of a [Cluster].
type Topic struct {
	Name string
	// Partitions is the number of partitions. Default 4.
	Partitions int32
	// MaxMessageBytes is what the cluster refuses to take, by [pipeline.Output]'s
	// Size; a refused record is the sink's Rejection. Default 0: no limit.
	MaxMessageBytes int
}

// Config configures a [Cluster].
type Config struct {
	// Topics are the topics that exist. None is created by use.
	Topics []Topic
	// TransactionTimeout is when the cluster aborts a transaction whose producer
	// is silent and fences that producer. Default 15 s, as in sinks/kafka.
	TransactionTimeout time.Duration
	// SessionTimeout is when a worker that has crashed leaves its group. Default
	// 45 s, as in sources/kafka.
	SessionTimeout time.Duration
	// RebalanceTimeout is what the source states as the time that a partition
	// may take to be given up. Default 60 s.
	RebalanceTimeout time.Duration
	// MaxRecordSize is the producer's bound of one output in bytes. Default 0:
	// no bound.
	MaxRecordSize int
	// BatchRecords is how many records the source delivers at once. Default 256.
	BatchRecords int
	// Intercept, if not nil, sees and may change every output before it is encoded,
	// as interceptors of the Kafka sink do (see pipeline.Terms).
	Intercept func(*pipeline.Outgoing)
}

// Cluster is a broker in memory: topics, consumer groups and transactions, as far
// as a pipeline can tell the difference. It does no I/O and starts no goroutine of
// its own, so it runs in real time as well as in a testing/synctest bubble; create
// it inside the bubble that uses it. All methods may be called from any goroutine.
//
// Like Kafka, it checks that positions are committed by a member of the group
// under the current generation (KIP-447), and does not check that the member owns
// the partition. Like Kafka, it lets nobody read a position that an open
// transaction holds.
type Cluster struct {
	cfg Config

	mu        sync.Mutex
	changed   chan struct{} // closed, and replaced, when anything below changes
	topics    map[string]*topicLog
	producers map[string]*producer // by transactional id
	groups    map[string]*group
	workers   map[string]*Worker // the latest of each name
	commits   []Commit
	injector  injector
}

// NewCluster returns a cluster with the topics of cfg. It panics if two topics
// share a name.
func NewCluster(cfg Config) *Cluster {
	cfg.TransactionTimeout = cmp.Or(cfg.TransactionTimeout, 15*time.Second)
	cfg.SessionTimeout = cmp.Or(cfg.SessionTimeout, 45*time.Second)
	cfg.RebalanceTimeout = cmp.Or(cfg.RebalanceTimeout, time.Minute)
	cfg.BatchRecords = cmp.Or(cfg.BatchRecords, 256)
	c := &Cluster{
		cfg: cfg, changed: make(chan struct{}), topics: map[string]*topicLog{},
		producers: map[string]*producer{}, groups: map[string]*group{}, workers: map[string]*Worker{},
	}
	for _, t := range cfg.Topics {
		if c.topics[t.Name] != nil {
			panic(fmt.Sprintf("pipelinetest: two topics are named %q", t.Name))
		}
		c.topics[t.Name] = newTopicLog(t)
	}
	return c
}

// For returns a cluster with every topic that the pipeline reads or writes, the
// dead letters included, of 4 partitions each.
func For(p *pipeline.Pipeline) *Cluster { return NewCluster(Config{Topics: TopicsOf(p, 4)}) }

// TopicsOf returns every topic that the pipeline reads or writes, sorted, for
// [Config].
func TopicsOf(p *pipeline.Pipeline, partitions int32) []Topic {
	names := slices.Concat(p.Inputs(), p.Tables(), p.Outputs())
	slices.Sort(names)
	var topics []Topic
	for _, name := range slices.Compact(names) {
		topics = append(topics, Topic{Name: name, Partitions: partitions})
	}
	return topics
}

// topic returns a topic that a test names; mu must not be held.
func (c *Cluster) topic(name string) *topicLog {
	t := c.topics[name] // the map itself never changes
	if t == nil {
		panic(fmt.Sprintf("pipelinetest: topic %q does not exist; it is not among %q", name, slices.Sorted(maps.Keys(c.topics))))
	}
	return t
}

// missing returns the error of a topic that a pipeline names and nobody made.
func (c *Cluster) missing(topics []string) error {
	for _, name := range topics {
		if c.topics[name] == nil {
			return pipeline.Fatal(fmt.Errorf("%w: %q", pipeline.ErrMissingTopic, name))
		}
	}
	return nil
}

// broadcast wakes everyone who waits for a change. mu must be held.
func (c *Cluster) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns when cond, called with mu held, is true, or when one of the
// channels is closed; it reports which.
func (c *Cluster) await(cond func() bool, done ...<-chan struct{}) bool {
	var stop [2]<-chan struct{}
	copy(stop[:], done)
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-stop[0]:
			return false
		case <-stop[1]:
			return false
		}
	}
}

// clusterID is what source and sink state as the place of their data.
const clusterID = "pipelinetest"
