package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
	"github.com/leat-stream/leat/stages"
)

// stateTopics are those of a test of state, on an embedded or a real cluster.
type stateTopics struct{ in, out, seen string }

// dedupes is a pipeline that drops copies.
func (at stateTopics) dedupes() *pipeline.Pipeline {
	p := pipeline.New("state")
	in := pipeline.From(p, at.in, serde.String())
	pipeline.To(stages.Dedupe(in, "dedupe", itself, stages.DedupeConfig{Topic: at.seen}), at.out, serde.String())
	return p
}

// counts is a pipeline that counts the records of each key.
func (at stateTopics) counts() *pipeline.Pipeline {
	p := pipeline.New("state")
	in := pipeline.From(p, at.in, serde.String())
	counts := stages.Aggregate(in, "count", serde.JSON[int](), func(n int, _ string) (int, error) { return n + 1, nil }, stages.AggregateConfig{Topic: at.seen})
	pipeline.To(stages.Map(counts, "value", func(w stages.Windowed[int]) (int, error) { return w.Value, nil }), at.out, serde.JSON[int]())
	return p
}

var compacted = map[string]string{"cleanup.policy": "compact"}

func statePlace(t *testing.T) (*cluster, stateTopics) {
	c := start(t, embedded.Config{Topics: []embedded.Topic{
		topic("in", 2), topic("out", 2), {Name: "seen", Partitions: 2, Config: compacted},
	}}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	return c, stateTopics{"in", "out", "seen"}
}

// mortal is a sink whose worker ends in the midst of a commit, before it or after: what is
// open stays open.
type mortal struct {
	*kafka.Sink
	left  atomic.Int64 // commits until then
	after bool
}

var errEnds = errors.New("the worker ends")

func (m *mortal) Commit(ctx context.Context) error {
	last := m.left.Add(-1) <= 0
	if last && !m.after {
		return pipeline.Fatal(errEnds)
	}
	err := m.Sink.Commit(ctx)
	if err == nil && last {
		return pipeline.Fatal(errEnds)
	}
	return err
}

// exerciseState ends workers of a pipeline in the midst of records and copies of those
// before. It returns how often it has fed each id.
func exerciseState(t *testing.T, c *cluster, build func() *pipeline.Pipeline, in string, cfg kafka.Config, rounds, each int) map[string]int {
	t.Helper()
	source := kafkasource.Config{
		Brokers: cfg.Brokers, Group: cfg.Group, Instance: cfg.Instance, SessionTimeout: cfg.SessionTimeout, HeartbeatInterval: cfg.HeartbeatInterval, Logger: silent,
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	n, fed := 0, map[string]int{}
	feed := func() {
		var records []*kgo.Record
		for range each {
			id := n
			if rnd.IntN(2) == 0 && n > 0 {
				id = n - 1 - rnd.IntN(min(n, 2*each)) // also of the last round
			} else {
				n++
			}
			key := fmt.Appendf(nil, "id-%d", id)
			fed[string(key)]++
			records = append(records, &kgo.Record{Topic: in, Key: key, Value: key})
		}
		c.Produce(records...)
	}
	for round := range rounds {
		feed()
		sink := &mortal{Sink: kafka.NewSink(cfg), after: round%2 == 1}
		sink.left.Store(2)
		worker := background(t, func(ctx context.Context) error {
			return pipeline.Run(ctx, build(), kafkasource.New(source), sink, pipeline.Logger(silent), pipeline.CommitEvery(cfg.CommitInterval, int64(each/10), 0))
		})
		feed()
		if err := worker.wait(); !errors.Is(err, errEnds) {
			t.Fatal(err)
		}
	}
	cfg.UntilEnd = true
	noError(t, run(t, build(), cfg), "the last run")
	return fed
}

// exerciseDedupe sees that each id comes out once, and that the state has all of them.
func exerciseDedupe(t *testing.T, c *cluster, at stateTopics, cfg kafka.Config, rounds, each int) {
	t.Helper()
	fed := exerciseState(t, c, at.dedupes, at.in, cfg, rounds, each)
	times, known := map[string]int{}, map[string]bool{}
	for _, r := range c.ReadAll(at.out) {
		times[string(r.Value)]++
	}
	for _, r := range c.ReadAll(at.seen) {
		known[string(r.Key)] = true
	}
	for id := range fed {
		if times[id] != 1 || !known[id] {
			t.Errorf("%s came out %d times, is in the state: %v", id, times[id], known[id])
		}
	}
	if len(times) != len(fed) || len(known) != len(fed) {
		t.Errorf("%d ids came out and %d are in the state, of %d", len(times), len(known), len(fed))
	}
}

// exerciseAggregate sees that each record is counted once: the counts of each id come out from
// one to the last.
func exerciseAggregate(t *testing.T, c *cluster, at stateTopics, cfg kafka.Config, rounds, each int) {
	t.Helper()
	fed := exerciseState(t, c, at.counts, at.in, cfg, rounds, each)
	counts := map[string]int{}
	for _, r := range c.ReadAll(at.out) {
		id := string(r.Key)
		if counts[id]++; string(r.Value) != fmt.Sprint(counts[id]) {
			t.Fatalf("count %d of %s is %s", counts[id], id, r.Value)
		}
	}
	if !maps.Equal(counts, fed) {
		t.Errorf("%d records of %d ids were counted, of %d and %d", sum(counts), len(counts), sum(fed), len(fed))
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// exerciseOpenState has somebody's transaction open in one partition of the state.
func exerciseOpenState(t *testing.T, c *cluster, at stateTopics, cfg kafka.Config) {
	t.Helper()
	foreign, err := kafka.NewProducer(t.Context(), kafka.ProducerSettings{Brokers: cfg.Brokers, TransactionalID: cfg.Group + "-foreign"})
	noError(t, err, "producer")
	defer foreign.Close(context.Background())
	opened, over := make(chan error, 1), make(chan struct{})
	foreignDone := background(t, func(ctx context.Context) error {
		return foreign.InTransaction(ctx, func(tx *kafka.Transaction) error {
			_, err := tx.SendSync(ctx, kafka.Record{Topic: at.seen, Key: []byte("k"), Value: []byte("never committed"), Partitioner: kafka.ToPartition(0)})
			opened <- err
			select {
			case <-over:
			case <-ctx.Done():
			}
			return errChanged
		})
	})
	noError(t, <-opened, "open a transaction")

	var stats pipeline.Stats
	cfg.Stats = &stats
	worker := launch(t, at.dedupes(), cfg)
	c.Produce(checktest.To(0, &kgo.Record{Topic: at.in, Value: []byte("waits")}), checktest.To(1, &kgo.Record{Topic: at.in, Value: []byte("goes on")}))
	c.Await("the other partition", func() bool { return len(c.ReadAll(at.out)) == 1 })
	restoring := func() (parts []pipeline.Restoring) {
		for _, p := range stats.Snapshot().Claims {
			if p.Restoring != nil {
				parts = append(parts, *p.Restoring)
			}
		}
		return parts
	}
	if r := restoring(); len(r) != 1 || r[0].Partition != (pipeline.Partition{Topic: at.seen}) || r[0].End != 1 {
		t.Errorf("restoring %+v", r)
	}
	worker.stop() // it does not wait for that
	worker = launch(t, at.dedupes(), cfg)
	c.Await("the next one to restore", func() bool { return len(restoring()) == 1 })
	close(over)
	if err := foreignDone.wait(); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	c.Await("the partition", func() bool { return len(c.ReadAll(at.out)) == 2 })
	worker.stop()
	if r := restoring(); r != nil {
		t.Errorf("still restoring %+v", r)
	}
}

func TestStateOverRestarts(t *testing.T) {
	t.Parallel()
	for name, exercise := range map[string]func(*testing.T, *cluster, stateTopics, kafka.Config, int, int){"Dedupe": exerciseDedupe, "Aggregate": exerciseAggregate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, at := statePlace(t)
			cfg := c.config()
			cfg.Group, cfg.Instance, cfg.UntilEnd = "state", "a", false // else what is open lasts until its time-out
			exercise(t, c, at, cfg, 4, 300)
		})
	}
}

func TestStateIsReadToTheEndOfItsLog(t *testing.T) {
	t.Parallel()
	c, at := statePlace(t)
	cfg := c.config()
	cfg.Group, cfg.UntilEnd = "dedupe", false
	exerciseOpenState(t, c, at, cfg)
}

// A state of several fetches, with aborted records among them and compacted ones missing.
func TestALongStateIsRead(t *testing.T) {
	t.Parallel()
	c, at := statePlace(t)
	cfg := c.config()
	var records []*kgo.Record
	for i := range 3000 {
		records = append(records, checktest.To(int32(i%2), &kgo.Record{Topic: at.in, Value: fmt.Appendf(nil, "id-%d", i)}))
	}
	c.Produce(records...)
	noError(t, run(t, at.dedupes(), cfg), "run")
	c.ProduceTransaction(false, checktest.To(0, &kgo.Record{Topic: at.seen, Key: []byte("new"), Value: make([]byte, 17)}))
	c.Produce(records...)
	c.Produce(checktest.To(0, &kgo.Record{Topic: at.in, Value: []byte("new")}))
	noError(t, run(t, at.dedupes(), cfg), "run again")
	if n := len(c.ReadAll(at.out)); n != 3001 {
		t.Errorf("%d records came out, want 3001", n)
	}
}

func TestTooFewStatePartitions(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 3), topic("out", 1), topic("seen", 2)}})
	err := run(t, stateTopics{"in", "out", "seen"}.dedupes(), c.config())
	if few, ok := errors.AsType[*pipeline.StatePartitionsError](err); !ok || few.Have != 2 || few.Need != 3 || few.Input != "in" || few.Topic != "seen" {
		t.Errorf("got %v", err)
	}
	err = run(t, stateTopics{"in", "out", "absent"}.dedupes(), c.config())
	if !errors.Is(err, pipeline.ErrMissingTopic) {
		t.Errorf("got %v", err)
	}
}
