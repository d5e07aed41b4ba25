package send

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// actor is one life of a producer: a machine, and what feeds it.
type actor struct {
	s       *sim
	id      int
	m       *machine
	acc     *accumulator
	st      stats
	cfg     Config
	posted  []func(now time.Time)
	pending bool
	wake    int64 // which timer is the last
	killed  bool
	conns   []*simConn
	calling *simCall
	epochs  map[*partition]int32
	flushes []*simFlush
	open    int // records without an outcome
}

func (s *sim) newActor(id int) *actor {
	a := &actor{s: s, id: id, cfg: s.cfg, epochs: map[*partition]int32{}}
	a.acc = newAccumulator(&a.cfg, a.poke)
	a.acc.now = func() time.Time { return s.now }
	a.m = newMachine(&a.cfg, a.acc, a, rand.New(rand.NewPCG(s.rnd.Uint64(), s.rnd.Uint64())), &a.st)
	s.actors = append(s.actors, a)
	a.poke()
	return a
}

// post has f called on the machine's goroutine, so to speak.
func (a *actor) post(f func(now time.Time)) {
	a.posted = append(a.posted, f)
	a.poke()
}

func (a *actor) poke() {
	if !a.pending {
		a.pending = true
		d := time.Duration(0)
		if a.s.rnd.IntN(4) == 0 {
			d = a.s.upTo(2 * time.Millisecond)
		}
		a.s.after(d, a.turn)
	}
}

// turn is one turn of the loop.
func (a *actor) turn() {
	a.pending = false
	if a.killed {
		return
	}
	posted := a.posted
	a.posted = nil
	for _, f := range posted {
		f(a.s.now)
	}
	a.m.overdue(a.s.now)
	next := a.m.step(a.s.now)
	a.invariants()
	a.flushed()
	if !next.IsZero() {
		a.wake++
		n := a.wake
		a.s.at(next, func() {
			if n == a.wake {
				a.poke()
			}
		})
	}
}

// kill ends the life at once, as kill -9 does.
func (a *actor) kill() {
	a.s.tracef("producer %d is killed", a.id)
	a.killed = true
	for _, c := range a.conns {
		c.die(io.EOF)
	}
}

// invariants hold after every turn.
func (a *actor) invariants() {
	busy := map[*node]int{}
	for _, pt := range a.m.parts {
		flying := 0
		for _, b := range pt.sent {
			if b.flying {
				flying++
			}
		}
		if flying != pt.flying {
			a.s.violated("%s-%d: %d batches are flying, %d are counted", pt.topic, pt.id, flying, pt.flying)
		}
		if pt.leaderEpoch < a.epochs[pt] {
			a.s.violated("%s-%d went back from leader epoch %d to %d", pt.topic, pt.id, a.epochs[pt], pt.leaderEpoch)
		}
		a.epochs[pt] = pt.leaderEpoch
	}
	for _, c := range a.conns {
		if !c.dead {
			busy[c.node] = c.node.inFlight
		}
	}
	for _, n := range busy {
		if n > a.cfg.MaxInFlight {
			a.s.violated("%d requests in flight on a connection", n)
		}
	}
}

// settled reports whether nothing is under way in a machine.
func (a *actor) settled() bool {
	for _, pt := range a.m.parts {
		if pt.current != nil || len(pt.ready)+len(pt.queue)+len(pt.sent) > 0 {
			return false
		}
	}
	return len(a.m.calls) == 0
}

// checkSettled: every record has its outcome, and all memory is back.
func (a *actor) checkSettled() {
	if a.open != 0 {
		a.s.violated("%d records of producer %d have no outcome", a.open, a.id)
	}
	if free := a.acc.mem.free; free != a.cfg.BufferMemory {
		a.s.violated("%d of %d bytes of producer %d are back", free, a.cfg.BufferMemory, a.id)
	}
	if len(a.acc.rounds.list) != 1 {
		a.s.violated("a flush of producer %d has no end", a.id)
	}
	if st := a.st.snapshot(a.acc); st.QueuedRecords|st.QueuedBytes|st.InFlightRecords|st.InFlightBytes|a.st.sealedRecords.Load()|a.st.sealedBytes.Load() != 0 {
		a.s.violated("producer %d still counts records: %+v", a.id, st)
	}
}

// simFlush is a flush that is waited for.
type simFlush struct {
	done <-chan struct{}
	over bool
	f    func(error)
}

// flush calls f once, when all that was sent is settled or time is over.
func (a *actor) flush(deadline time.Time, f func(error)) {
	x := &simFlush{done: a.acc.rounds.end(), f: f}
	a.flushes = append(a.flushes, x)
	a.poke()
	if !deadline.IsZero() {
		a.s.at(deadline, func() {
			if !x.over {
				x.over = true
				f(context.DeadlineExceeded)
			}
		})
	}
}

func (a *actor) flushed() {
	left := a.flushes[:0]
	for _, x := range a.flushes {
		select {
		case <-x.done:
			if !x.over {
				x.over = true
				a.s.after(a.s.upTo(time.Millisecond), func() { x.f(nil) })
			}
		default:
			if !x.over {
				left = append(left, x)
			}
		}
	}
	a.flushes = left
}

// ask runs f on the machine's goroutine, and done once with its outcome. A context
// that ends is cancel.
func (a *actor) ask(cancel time.Time, f func(now time.Time, done func(error)) *call, done func(error)) {
	s := a.s
	a.post(func(now time.Time) {
		c := f(now, func(err error) { s.after(s.upTo(time.Millisecond), func() { done(err) }) })
		if c != nil && !cancel.IsZero() {
			s.at(cancel, func() { a.post(func(time.Time) { c.dropped = true }) })
		}
	})
}

// simRecord is a record and what became of it.
type simRecord struct {
	a       *actor
	id      int64
	tp      tp
	settled bool
	offset  int64
	err     error
}

// Complete takes the outcome.
func (r *simRecord) Complete(offset int64, _ time.Time, err error) {
	if r.settled {
		r.a.s.violated("record %d has two outcomes", r.id)
	}
	r.settled, r.offset, r.err = true, offset, err
	r.a.open--
	if err != nil {
		r.a.s.tracef("p%d: record %d: %v", r.a.id, r.id, err)
	}
}

// send appends a record to a random partition.
func (a *actor) send(id int64) *simRecord {
	s := a.s
	topics := *a.acc.topics.Load()
	topic := fmt.Sprintf("t%d", s.rnd.IntN(len(topics)))
	if len(topics[topic]) == 0 {
		return nil
	}
	r := &simRecord{a: a, id: id, tp: tp{topic, int32(s.rnd.IntN(len(topics[topic])))}, offset: -1}
	size := 8 + s.rnd.IntN(60)
	if s.chance(.02) {
		size = 8 + s.rnd.IntN(700)
	}
	value := make([]byte, size)
	binary.BigEndian.PutUint64(value, uint64(id))
	err := a.acc.append(context.Background(), &Record{Topic: r.tp.topic, Partition: r.tp.id, Value: value, Timestamp: s.now, Done: r})
	if err != nil {
		s.tracef("p%d: record %d not taken: %v", a.id, id, err)
		return nil
	}
	a.open++
	return r
}
