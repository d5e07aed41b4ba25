package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// ledger keeps outputs and positions, all or nothing, for those who have taken the
// partition last.
type ledger struct {
	mu     sync.Mutex
	next   map[pipeline.Partition]int64
	owner  map[pipeline.Partition]*keeper
	values []string
	groups []string
}

func newLedger() *ledger {
	return &ledger{next: map[pipeline.Partition]int64{}, owner: map[pipeline.Partition]*keeper{}}
}

// keeper is a sink that keeps the positions.
type keeper struct {
	*ledger
	waiting []string
	offsets []pipeline.Offset
	refuse  error // of Take
}

func (k *keeper) Open(_ context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	if spec.Cluster == "" {
		return pipeline.Terms{}, errors.New("the sink is not told the source's cluster")
	}
	return pipeline.Terms{Guarantee: spec.Guarantee, Cluster: "ledger"}, nil
}

func (k *keeper) Close() error                { return nil }
func (k *keeper) Flush(context.Context) error { return nil }
func (k *keeper) Init(context.Context) error  { return nil }
func (k *keeper) Abort(context.Context) error { return nil }

func (k *keeper) Begin(context.Context) error {
	k.waiting, k.offsets = nil, nil
	return nil
}

func (k *keeper) Send(_ context.Context, outputs []pipeline.Output) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range outputs {
		k.waiting = append(k.waiting, string(outputs[i].Value))
	}
	return nil
}

func (k *keeper) SendOffsets(_ context.Context, offsets []pipeline.Offset, _ pipeline.GroupMetadata) error {
	k.offsets = offsets
	return nil
}

func (k *keeper) Commit(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range k.offsets {
		if k.owner[o.Partition] != k {
			return errors.New("taken by another")
		}
	}
	for _, o := range k.offsets {
		k.next[o.Partition] = o.Next
	}
	k.values = append(k.values, k.waiting...)
	return nil
}

func (k *keeper) Take(_ context.Context, b pipeline.Beginning) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return 0, k.refuse
	}
	part := b.Partition
	k.owner[part], k.groups = k, append(k.groups, b.Group)
	if _, ok := k.next[part]; !ok {
		k.next[part] = b.Position
	}
	return k.next[part], nil
}

// A sink that keeps the positions is asked for them, with the group's name, and the group
// is told them: also the ones that it has missed.
func TestPositionsOfTheSink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, numbered("v", 50)...)
		book := newLedger()
		book.next[pipeline.Partition{Topic: "in"}] = 20 // more than the group knows
		if err := c.Run(t.Context(), p, pipelinetest.Into(func() pipeline.Sink { return &keeper{ledger: book} })); err != nil {
			t.Fatal(err)
		}
		if len(book.values) != 30 || book.values[0] != "v20" {
			t.Errorf("%d values from %q on, want 30 from v20 on", len(book.values), book.values[:1])
		}
		if book.groups[0] != "test" {
			t.Errorf("taken for group %q, want test", book.groups[0])
		}
		if got := c.Committed("test")[pipeline.Partition{Topic: "in"}]; got != 50 {
			t.Errorf("the group has %d, want 50", got)
		}
		// Nothing is left to read, and the group has forgotten: it is told all the same.
		other := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		feed(other, 0, numbered("v", 50)...)
		if err := other.Run(t.Context(), p, pipelinetest.Into(func() pipeline.Sink { return &keeper{ledger: book} })); err != nil {
			t.Fatal(err)
		}
		if len(book.values) != 30 {
			t.Errorf("%d values after a run with nothing to do, want 30", len(book.values))
		}
	})
}

// A partition that cannot be taken is tried again, and given up at once if the reason is
// everyone's.
func TestPartitionNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		k := &keeper{ledger: newLedger(), refuse: errors.New("not now")}
		w := c.Start(t.Context(), p, pipelinetest.Into(func() pipeline.Sink { return k }))
		time.Sleep(time.Minute)
		k.mu.Lock()
		k.refuse = nil
		k.mu.Unlock()
		if err := c.AwaitFinished(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		k = &keeper{ledger: newLedger(), refuse: pipeline.Fatal(errors.New("no such table"))}
		p, c = engine(1, asIs)
		feed(c, 0, "v")
		if err := c.Run(t.Context(), p, pipelinetest.Into(func() pipeline.Sink { return k })); err == nil || !strings.Contains(err.Error(), "no such table") {
			t.Errorf("Run: %v, want the reason", err)
		}
	})
}

// stubborn is a source that begins where it likes.
type stubborn struct{ pipeline.Source }

func (s stubborn) Run(ctx context.Context, w *pipeline.Worker) error {
	if err := w.Ready(ctx); err != nil {
		return err
	}
	if _, err := w.Start(ctx, pipeline.Beginning{Partition: pipeline.Partition{Topic: "in"}}); err == nil {
		return errors.New("Start before Begin")
	}
	w.Begin(&noSession{})
	defer w.End()
	if _, err := w.Claim(pipeline.Partition{Topic: "in"}, 0); err == nil {
		return errors.New("a claim without Start")
	}
	at, err := w.Start(ctx, pipeline.Beginning{Partition: pipeline.Partition{Topic: "in"}})
	if err != nil {
		return err
	}
	c, err := w.Claim(pipeline.Partition{Topic: "in"}, at+1)
	if err == nil {
		c.Release()
		return errors.New("a claim elsewhere")
	}
	return err
}

type noSession struct{}

func (*noSession) Group() pipeline.GroupMetadata { return pipeline.GroupMetadata{Group: "g"} }
func (*noSession) CommitOffsets(context.Context, []pipeline.Offset) error {
	return errors.New("no group")
}

// A source that does not begin where the sink says would lose records or repeat them: it
// is refused when it tries.
func TestStubbornSource(t *testing.T) {
	p, c := engine(1, asIs)
	source, _ := c.Ends()
	err := pipeline.Run(t.Context(), p, stubborn{source}, &keeper{ledger: newLedger()})
	if err == nil || !strings.Contains(err.Error(), "begin where Worker.Start says") {
		t.Errorf("Run: %v, want that the claim is refused", err)
	}
}
