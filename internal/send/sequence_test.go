package send

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestAdvance(t *testing.T) {
	const most = math.MaxInt32
	for _, x := range []struct{ seq, n, want int32 }{
		{0, 1, 1}, {5, 7, 12}, {most - 1, 1, most}, {most, 1, 0}, {most, 2, 1}, {most - 2, 3, 0}, {most - 2, 5, 2}, {0, most, most}, {1, most, 0},
		{most, 0, most},
	} {
		if got := advance(x.seq, x.n); got != x.want {
			t.Errorf("advance(%d, %d) = %d, not %d", x.seq, x.n, got, x.want)
		}
	}
}

// idle is a world in which nothing happens.
type idle struct{ calls []*call }

func (*idle) produce(*request) {}
func (*idle) hangUp(*node)     {}
func (*idle) view([]string)    {}
func (w *idle) call(c *call)   { w.calls = append(w.calls, c) }
func (*idle) dropCall(c *call) {}

// When the epochs are used up, another producer id is asked for.
func TestEpochsAreUsedUp(t *testing.T) {
	s := newSim(1, 0)
	s.cfg.Idempotent = true
	w := &idle{}
	m := newMachine(&s.cfg, newAccumulator(&s.cfg, func() {}), w, rand.New(rand.NewPCG(1, 1)), &stats{})
	m.id.pid, m.id.epoch = 7, math.MaxInt16-2
	m.nextEpoch(simStart)
	if m.id.epoch != math.MaxInt16-1 || !m.id.ready() {
		t.Fatalf("epoch %d, ready %v", m.id.epoch, m.id.ready())
	}
	m.nextEpoch(simStart)
	m.nextEpoch(simStart) // asks once
	if m.id.ready() {
		t.Fatal("the epoch was raised beyond the last")
	}
	m.step(simStart)
	if len(w.calls) != 1 || w.calls[0].kind != callInit || w.calls[0].pid != -1 {
		t.Fatalf("calls: %v", w.calls)
	}
	m.called(w.calls[0], answer{pid: 8, epoch: 0}, nil, simStart.Add(time.Millisecond))
	if m.id.pid != 8 || m.id.epoch != 0 || !m.id.ready() {
		t.Errorf("identity %+v", m.id)
	}
}
