package kafka_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// spy is a sink that notes what is committed on whose behalf.
type spy struct {
	*kafka.Sink
	see func(offsets []pipeline.Offset, group pipeline.GroupMetadata)
}

func (s *spy) SendOffsets(ctx context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	s.see(offsets, group)
	return s.Sink.SendOffsets(ctx, offsets, group)
}

// ownership checks that a worker commits only what it owns.
type ownership struct {
	mu        sync.Mutex
	owned     map[string]bool // worker and partition
	wrong     []string
	committed map[string]int
	metadata  []pipeline.GroupMetadata
}

func newOwnership() *ownership {
	return &ownership{owned: map[string]bool{}, committed: map[string]int{}}
}

func (o *ownership) worker(name string, cfg kafka.Config, source kafkasource.Config, p *pipeline.Pipeline) func(context.Context) error {
	place := func(p pipeline.Partition) string { return fmt.Sprintf("%s owns %v", name, p) }
	own := func(p pipeline.Partition, is bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.owned[place(p)] = is
	}
	sink := &spy{Sink: kafka.NewSink(cfg), see: func(offsets []pipeline.Offset, group pipeline.GroupMetadata) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.metadata = append(o.metadata, group)
		o.committed[name]++
		for _, at := range offsets {
			// A claim is announced a moment after it may commit.
			if is, known := o.owned[place(at.Partition)]; known && !is {
				o.wrong = append(o.wrong, fmt.Sprintf("%s committed %v@%d, which it had given up", name, at.Partition, at.Next))
			}
		}
	}}
	return func(ctx context.Context) error {
		return pipeline.Run(ctx, p, kafkasource.New(source), sink, pipeline.Logger(silent), pipeline.CommitEvery(cfg.CommitInterval, 0, 0),
			pipeline.OnAssigned(func(p pipeline.Partition) { own(p, true) }), pipeline.OnRevoked(func(p pipeline.Partition) { own(p, false) }))
	}
}

func (o *ownership) check(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wrong) > 0 {
		t.Errorf("%d commits by a worker that did not own the partition, first: %s", len(o.wrong), o.wrong[0])
	}
	for _, m := range o.metadata {
		if m.Member == "" || m.Generation < 0 {
			t.Fatalf("positions were committed as %+v, without member or generation: the broker would accept them from anyone", m)
		}
	}
}

// With cooperative assignment a partition moves from a worker that goes on with
// the others. The broker does not check who owns a partition, so nothing but the
// worker keeps it from being committed twice.
func TestACooperativeRevokeMovesAPartitionWhole(t *testing.T) {
	t.Parallel()
	c := inOut(t, 4)
	source := kafkasource.Config{
		Brokers: c.fake.Brokers(), Group: "copy", SessionTimeout: 6 * time.Second, HeartbeatInterval: 50 * time.Millisecond, Logger: silent,
	}
	cfg := kafka.Config{Brokers: c.fake.Brokers(), Group: "copy", CommitInterval: 10 * time.Millisecond, Logger: silent}
	exerciseRevokes(t, c, source, cfg, copying("copy"), 6_000, 2*time.Second)
}

// exerciseRevokes runs a worker that stays and others that come and go while input
// arrives.
func exerciseRevokes(t *testing.T, c *cluster, source kafkasource.Config, cfg kafka.Config, p *pipeline.Pipeline, n uint64, over time.Duration) {
	t.Helper()
	in, out, group := p.Inputs()[0], p.Outputs()[0], cfg.Group
	o := newOwnership()
	feeding := background(t, func(ctx context.Context) error { return c.Feed(ctx, in, 0, n, over) })
	stays := background(t, o.worker("stays", cfg, source, p))
	for i, part := range []float64{0.1, 0.4, 0.7} {
		c.Await("progress", func() bool { return float64(c.positions(group, in)) >= part*float64(n) })
		name := fmt.Sprintf("guest %d", i)
		comes := background(t, o.worker(name, cfg, source, p))
		c.Await(name+" to commit", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.committed[name] > 0 || c.positions(group, in) == int64(n)
		})
		comes.stop()
	}
	noError(t, feeding.wait(), "feed")
	c.Await("the end", func() bool { return c.positions(group, in) == int64(n) })
	stays.stop()
	o.check(t)
	o.mu.Lock()
	moves := 0
	for _, is := range o.owned {
		if !is {
			moves++
		}
	}
	o.mu.Unlock()
	if moves < 4 {
		t.Errorf("only %d partitions were ever given up: nothing was tested", moves)
	}
	if err := c.Compare(in, out, n).Exact(); err != nil {
		t.Error(err)
	}
}
