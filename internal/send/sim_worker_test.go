package send

import (
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// worker is a caller with transactions, one life of the producer after another.
type worker struct {
	s     *sim
	a     *actor
	lives int
	next  int64 // record
	txns  []*simTransaction
	want  int
	over  bool
}

// simTransaction is one transaction as its caller knows it.
type simTransaction struct {
	records []*simRecord
	offsets bool
	calm    bool // begun after the last fault
	outcome simOutcome
}

type simOutcome uint8

const (
	outcomeNothing simOutcome = iota // nothing may be visible
	outcomeAll
	outcomeUnknown // all or nothing
)

func newWorker(s *sim) *worker { return &worker{s: s, want: 3 + s.rnd.IntN(12)} }

func (w *worker) start() { w.live() }

// live begins the next life; the last one is closed, killed, or goes on as a
// zombie.
func (w *worker) live() {
	s := w.s
	if old := w.a; old != nil {
		switch s.rnd.IntN(3) {
		case 0:
			old.acc.fail(ErrClosed)
			old.post(func(time.Time) { old.m.close() })
		case 1:
			old.kill()
		}
	}
	w.lives++
	a := s.newActor(w.lives)
	w.a = a
	deadline := s.now.Add(s.cfg.TransactionTimeout)
	a.ask(time.Time{}, func(now time.Time, done func(error)) *call { return a.m.initialise(deadline, now, done) }, func(err error) {
		if err != nil {
			s.tracef("p%d: initialise: %v", a.id, err)
			s.after(s.upTo(100*time.Millisecond), w.live)
			return
		}
		w.look()
	})
}

func (w *worker) look() {
	a, s := w.a, w.s
	topics := map[string]bool{}
	for _, p := range s.cl.parts {
		topics[p.topic] = true
	}
	left := len(topics)
	for i := range left {
		var try func()
		try = func() {
			a.post(func(now time.Time) {
				a.m.lookUp(fmt.Sprintf("t%d", i), now.Add(time.Second), func(err error) {
					if err != nil {
						s.after(20*time.Millisecond, try)
						return
					}
					if left--; left == 0 {
						s.after(0, w.begin)
					}
				})
			})
		}
		try()
	}
}

// begin is Producer.Begin.
func (w *worker) begin() {
	a, s := w.a, w.s
	if len(w.txns) >= w.want {
		if !s.quiet && s.rnd.IntN(10) > 0 {
			s.after(50*time.Millisecond, w.begin)
			return
		}
		s.calm()
		last := w.txns[len(w.txns)-1]
		switch {
		case last.calm && last.outcome == outcomeAll:
			w.over = true
			return
		case len(w.txns) == w.want+10:
			s.violated("no transaction succeeds after the last fault")
			return
		}
	}
	a.post(func(time.Time) {
		if a.m.tx.dead == nil && a.m.id.asking {
			a.m.onIdentity = append(a.m.onIdentity, func() { s.after(0, w.begin) })
			return
		}
		if err := a.m.begin(); err != nil {
			s.tracef("p%d: begin: %v", a.id, err)
			s.after(s.upTo(50*time.Millisecond), w.live)
			return
		}
		s.tracef("p%d: transaction %d begins", a.id, len(w.txns)+1)
		t := &simTransaction{calm: s.quiet}
		w.txns = append(w.txns, t)
		s.after(0, func() { w.fill(t, s.rnd.IntN(25)) })
	})
}

// fill sends records, and then ends the transaction one way or another.
func (w *worker) fill(t *simTransaction, left int) {
	a, s := w.a, w.s
	for range min(left, 1+s.rnd.IntN(6)) {
		left--
		w.next++
		if r := a.send(w.next); r != nil {
			t.records = append(t.records, r)
		}
	}
	switch {
	case s.chance(.02):
		w.abort()
	case s.chance(s.f.leave / 10):
		w.live()
	case left > 0:
		if s.chance(s.f.flush) {
			a.flush(s.now.Add(s.upTo(time.Second)), func(error) { w.fill(t, left) })
			return
		}
		s.after(s.upTo(s.f.idle/2), func() { w.fill(t, left) })
	case s.rnd.IntN(3) > 0:
		w.sendOffsets(t)
	default:
		w.commit(t)
	}
}

// limits are a call's deadline and when its context is cancelled, if it is.
func (w *worker) limits() (deadline, cancel time.Time) {
	s := w.s
	deadline = s.now.Add(s.cfg.TransactionTimeout)
	if s.chance(.1) {
		deadline = s.now.Add(s.upTo(300 * time.Millisecond))
	}
	if s.chance(.1) {
		cancel = s.now.Add(s.upTo(100 * time.Millisecond))
	}
	return deadline, cancel
}

func (w *worker) sendOffsets(t *simTransaction) {
	a := w.a
	deadline, cancel := w.limits()
	offset := pipeline.Offset{Next: int64(len(w.txns))}
	a.ask(cancel, func(now time.Time, done func(error)) *call {
		return a.m.sendOffsets([]pipeline.Offset{offset}, pipeline.GroupMetadata{Group: "g"}, deadline, now, done)
	}, func(err error) {
		if err == nil {
			t.offsets = true
			w.commit(t)
			return
		}
		w.s.tracef("p%d: offsets: %v", a.id, err)
		w.failed(err)
	})
}

// commit is Producer.Commit.
func (w *worker) commit(t *simTransaction) {
	a, s := w.a, w.s
	deadline, cancel := w.limits()
	end := deadline
	if !cancel.IsZero() && cancel.Before(end) {
		end = cancel
	}
	a.flush(end, func(err error) {
		if err != nil {
			w.abort()
			return
		}
		a.ask(cancel, func(now time.Time, done func(error)) *call { return a.m.end(true, deadline, now, done) }, func(err error) {
			s.tracef("p%d: commit of transaction %d: %v", a.id, len(w.txns), err)
			switch {
			case err == nil:
				t.outcome = outcomeAll
				w.begin()
				return
			case !errors.Is(err, ErrAbortable):
				t.outcome = outcomeUnknown
			}
			w.failed(err)
		})
	})
}

func (w *worker) failed(err error) {
	if errors.Is(err, ErrAbortable) {
		w.abort()
		return
	}
	w.s.after(w.s.upTo(50*time.Millisecond), w.live)
}

// abort is Producer.Abort.
func (w *worker) abort() {
	a, s := w.a, w.s
	deadline, cancel := w.limits()
	a.post(func(time.Time) {
		if err := a.m.startAbort(); err != nil {
			s.tracef("p%d: abort: %v", a.id, err)
			s.after(0, w.live)
			return
		}
		s.after(0, func() {
			a.flush(deadline, func(err error) {
				if err != nil {
					w.live()
					return
				}
				a.ask(cancel, func(now time.Time, done func(error)) *call { return a.m.end(false, deadline, now, done) }, func(err error) {
					s.tracef("p%d: abort of transaction %d: %v", a.id, len(w.txns), err)
					if err != nil {
						w.live()
						return
					}
					w.begin()
				})
			})
		})
	})
}

func (w *worker) done() bool {
	if !w.over {
		return false
	}
	for _, a := range w.s.actors {
		if !a.killed && !(a.m.closing && a.m.finished()) && !a.settled() {
			return false
		}
	}
	return true
}

func (w *worker) check() {
	s := w.s
	seen := map[int64]tp{}
	for _, p := range s.cl.parts {
		ids, held := p.visible()
		if held > 0 {
			s.violated("%v: %d batches belong to a transaction that never ends", p.tp, held)
		}
		last := int64(0)
		for _, id := range ids {
			if id <= last {
				s.violated("%v: record %d after %d", p.tp, id, last)
			}
			last, seen[id] = id, p.tp
		}
	}
	offsets := map[int64]bool{}
	ids, _ := s.cl.offsets.visible()
	last := int64(0)
	for _, id := range ids {
		if id < last {
			s.violated("the offset goes back from %d to %d", last, id)
		}
		last, offsets[id] = id, true
	}
	for i, t := range w.txns {
		w.checkTransaction(i+1, t, seen, offsets[int64(i+1)])
	}
}

func (w *worker) checkTransaction(n int, t *simTransaction, seen map[int64]tp, offset bool) {
	s := w.s
	visible := 0
	for _, r := range t.records {
		at, ok := seen[r.id]
		if !ok {
			continue
		}
		visible++
		if at != r.tp {
			s.violated("record %d is in %v, not %v", r.id, at, r.tp)
		}
	}
	switch {
	case t.outcome == outcomeNothing && (visible > 0 || offset):
		s.violated("transaction %d was aborted, and %d records, offset %v are visible", n, visible, offset)
	case t.outcome == outcomeAll && (visible < len(t.records) || offset != t.offsets):
		s.violated("transaction %d was committed: %d of %d records, offset %v are visible", n, visible, len(t.records), offset)
	case t.outcome == outcomeUnknown && visible != 0 && visible != len(t.records):
		s.violated("transaction %d is torn: %d of %d records are visible", n, visible, len(t.records))
	case t.outcome == outcomeUnknown && len(t.records) > 0 && offset != (t.offsets && visible > 0):
		s.violated("transaction %d is torn: %d of %d records, offset %v are visible", n, visible, len(t.records), offset)
	}
	for _, r := range t.records {
		if t.outcome == outcomeAll && (!r.settled || r.err != nil) {
			s.violated("transaction %d was committed without record %d: %v", n, r.id, r.err)
		}
	}
}
