package pipeline

import (
	"context"
	"fmt"
	"time"
)

// Pipeline is a graph of inputs, stages and outputs under a name. It is built by
// New, [From], [Table], the stages and [To], and is data: building starts nothing.
//
// Build it on one goroutine. Once built it is not changed any more and may be
// validated, described and run any number of times, also concurrently unless it
// has tables: these belong to one run at a time.
type Pipeline struct {
	name   string
	nodes  []*node
	tables []tableNode
	mids   []Middleware

	policy         Policy
	deadLetter     string
	deadLetterRate int

	mistakes []error // made while building
}

// Option sets something of the whole pipeline.
type Option interface{ applyPipeline(*Pipeline) }

type optionFunc func(*Pipeline)

func (f optionFunc) applyPipeline(p *Pipeline) { f(p) }

// New returns an empty pipeline. Its name is the default of the consumer group
// and part of the transactional id: renaming a pipeline starts it anew.
func New(name string, opts ...Option) *Pipeline {
	p := &Pipeline{name: name}
	for _, o := range opts {
		o.applyPipeline(p)
	}
	return p
}

// Name returns the name that New was given.
func (p *Pipeline) Name() string { return p.name }

// DeadLetterTopic returns the topic that DeadLetter named, or "".
func (p *Pipeline) DeadLetterTopic() string { return p.deadLetter }

// DeadLetter names the topic of the dead letters and makes [ToDeadLetter] the
// policy of every stage that has none of its own.
func DeadLetter(topic string) Option {
	return optionFunc(func(p *Pipeline) {
		p.deadLetter = topic
		p.policy.action = actionDeadLetter
	})
}

// DeadLetterLimit fails the pipeline with [ErrDeadLetterLimit] when it has put
// out more than n dead letters within a minute: something is wrong with
// everything, not with a record. The window is per process. 0, the default, sets
// no limit.
func DeadLetterLimit(n int) Option {
	return optionFunc(func(p *Pipeline) { p.deadLetterRate = n })
}

// Use wraps every chain in middleware. The first is the outermost.
func Use(m ...Middleware) Option {
	return optionFunc(func(p *Pipeline) { p.mids = append(p.mids, m...) })
}

// InvalidOption is what [Invalid] returns: it fits a pipeline and a stage.
type InvalidOption struct{ err error }

// Invalid is an option that is wrong: Validate reports err. It is for packages that
// make options, or stages, from what their users say: it takes the place of the option
// asked for, or is one more of the stage's.
func Invalid(err error) InvalidOption { return InvalidOption{err} }

func (o InvalidOption) applyPipeline(p *Pipeline) { p.mistakes = append(p.mistakes, o.err) }
func (o InvalidOption) applyStage(c *stageConfig) { c.mistake = o.err }

// PolicyOption is what [OnError] returns: it fits a pipeline and a stage.
type PolicyOption struct{ policy Policy }

// OnError sets the error policy: given to New that of every stage without one,
// given to a stage that stage's own.
func OnError(policy Policy) PolicyOption { return PolicyOption{policy} }

func (o PolicyOption) applyPipeline(p *Pipeline) { p.policy = o.policy }
func (o PolicyOption) applyStage(c *stageConfig) { c.policy, c.hasPolicy = o.policy, true }

// StageOption sets something of one input, stage or output.
type StageOption interface{ applyStage(*stageConfig) }

type stageOptionFunc func(*stageConfig)

func (f stageOptionFunc) applyStage(c *stageConfig) { f(c) }

type stageConfig struct {
	policy      Policy
	hasPolicy   bool
	tombstones  Policy
	hasTombs    bool
	partitioner Partitioner
	headers     []Header
	timeout     time.Duration
	retries     []retryTopic // of an input, in the order in which a record goes through them
	order       *order       // of an input that is retried in order, or nil
	reads       []string     // tables
	cache       func() CacheStats
	oneToOne    bool
	state       string // topic in which the stage keeps its state
	mistake     error  // of whoever made the stage
}

func (c *stageConfig) apply(opts []StageOption) {
	for _, o := range opts {
		o.applyStage(c)
	}
}

// Tombstones sets the policy for null values at a typed From: Skip drops them.
// Without it they are the record's error [ErrTombstone] under the stage's policy.
// It is for inputs and tables only; a table needs none, since there a tombstone
// deletes.
func Tombstones(policy Policy) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.tombstones, c.hasTombs = policy, true })
}

// PartitionBy sets the partitioner of an output. The default is murmur2 of the
// key, as in Java's producer.
func PartitionBy(p Partitioner) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.partitioner = p })
}

// AddHeader appends a header to every record of an output, after those that it
// has already; interceptors and the serde come after it.
func AddHeader(key string, value []byte) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.headers = append(c.headers, Header{key, value}) })
}

// Reads says that a stage looks records up in a table of the pipeline, for the
// drawing. stages.Enrich sets it by itself.
func Reads(table interface{ Topic() string }) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.reads = append(c.reads, table.Topic()) })
}

// CacheStats are a cache's counters since it was made, and its size now.
type CacheStats struct {
	// Hits counts the look-ups that the cache answered; Misses counts those that
	// went to the table or waited for one that did.
	Hits, Misses int64
	// Evictions counts the entries that made room for others.
	Evictions int64
	// Entries is the number of entries, those included that have expired and not
	// been asked for since.
	Entries int
	// Bytes is what the entries cost.
	Bytes int64
}

// OneToOne says that a stage passes on each record that it is given, once, or fails it:
// a run that counts its stages need not count behind it, which saves 3 ns a record.
func OneToOne() StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.oneToOne = true })
}

// Caches says which cache a stage looks records up in, for Snapshot. stages.Enrich
// sets it by itself. stats is called from any goroutine.
func Caches(stats func() CacheStats) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.cache = stats })
}

// Timeout gives each call of a stage's function a context that ends after d. It
// is for functions that take a context. 0, the default, sets none.
func Timeout(d time.Duration) StageOption {
	return stageOptionFunc(func(c *stageConfig) { c.timeout = d })
}

type kind uint8

const (
	kindInput kind = iota
	kindStage
	kindOutput
	kindTable
)

// node is one input, stage or output of the graph. Its types are hidden in the
// closures, which are called only when a chain is compiled.
type node struct {
	p      *Pipeline
	id     int
	name   string
	kind   kind
	label  string   // what it is: map, check …; for the drawing
	topics []string // of an input or output
	cfg    stageConfig
	serde  any
	keys   any                                              // a table's key serde
	decode func(context.Context, Slot, []byte) (any, error) // by serde; of inputs and tables

	ports []*port
	// instantiate returns the node's Next[In], given its ports' Next[Out].
	instantiate func(sc *StageContext, next []any) any
	feeds       int // number of streams that feed it
}

// port is where one stream leaves a node.
type port struct {
	consumers []*node
	join      func([]any) any // fans out into several Next of one type
	metered   func(m *taskMeter, edge int, entry any) any
}

func newPort[T any]() *port { return &port{join: join[T], metered: metered[T]} }

func join[T any](entries []any) any {
	if len(entries) == 1 {
		return entries[0]
	}
	return fanOut(nexts[T](entries))
}

func (p *Pipeline) add(n *node) *node {
	n.p, n.id = p, len(p.nodes)
	p.nodes = append(p.nodes, n)
	return n
}

func (p *Pipeline) mistake(format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf(format, args...))
}

func (n *node) policy() Policy {
	if n.cfg.hasPolicy {
		return n.cfg.policy
	}
	return n.p.policy
}
