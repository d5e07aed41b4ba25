package send

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// The network between an actor and the cluster. The actor is the machine's world.

var (
	errCut    = errors.New("simulated: connection cut")
	errLate   = errors.New("simulated: request time-out")
	errRefuse = errors.New("simulated: connection refused")
)

// simConn is a connection: a stream of requests, executed in order and one at a
// time, as Kafka does. When it breaks, a prefix of what is under way may still be
// delivered, later.
type simConn struct {
	a       *actor
	node    *node
	dead    bool
	lose    bool      // requests go nowhere
	mute    bool      // answers go nowhere
	last    time.Time // arrival of the last request
	flights []*flight // not answered
	pipe    []*flight // arrived, not executed
	busy    bool
}

// flight is a request as it was when it was written.
type flight struct {
	c        *simConn
	r        *request
	batches  []*simBatch
	sent     time.Time
	executed bool
	lost     bool
	not      time.Time // delivered not before
	reported bool
}

// simBatch is a batch on the wire.
type simBatch struct {
	tp    tp
	pid   int64
	epoch int16
	seq   int32
	ids   []int64
	size  int
	txn   bool
	joins bool // transaction version 2
	conn  *simConn
	sent  time.Time
}

type tp struct {
	topic string
	id    int32
}

func (a *actor) produce(r *request) {
	c, ok := r.node.conn.(*simConn)
	if !ok {
		c = &simConn{a: a, node: r.node}
		r.node.conn = c
		a.conns = append(a.conns, c)
	}
	s := a.s
	f := &flight{c: c, r: r, sent: s.now}
	for _, b := range r.batches {
		sb := &simBatch{
			tp: tp{b.part.topic, b.part.id}, pid: b.pid, epoch: b.epoch, seq: b.seq,
			txn: a.cfg.TransactionalID != "", joins: r.joins, size: batchOverhead, conn: c, sent: s.now,
		}
		for _, rec := range decode(b) {
			sb.size += recordOverhead + len(rec.value)
			sb.ids = append(sb.ids, int64(binary.BigEndian.Uint64(rec.value)))
		}
		if n := b.count(); int(n) != len(sb.ids) {
			s.violated("a batch of %d records says %d", len(sb.ids), n)
		}
		f.batches = append(f.batches, sb)
		s.tracef("p%d sends %v pid %d/%d seq %d: %v to %d, try %d", a.id, sb.tp, sb.pid, sb.epoch, sb.seq, sb.ids, r.node.id, b.tries)
	}
	if slices.ContainsFunc(c.flights, func(g *flight) bool { return g.r.node != r.node }) {
		s.violated("requests of two nodes on one connection")
	}
	c.flights = append(c.flights, f)
	if c.dead {
		s.after(s.upTo(2*time.Millisecond), func() { f.report(errCut) })
		return
	}
	switch {
	case s.chance(s.f.cut):
		s.after(s.upTo(15*time.Millisecond), func() { c.die(errCut) })
	case s.chance(s.f.swallow):
		c.lose = true
	case s.chance(s.f.mute):
		c.mute = true
	}
	f.lost = c.lose
	arrive := s.now.Add(100*time.Microsecond + s.upTo(3*time.Millisecond))
	if arrive.Before(c.last) {
		arrive = c.last
	}
	c.last = arrive
	s.at(arrive, f.arrive)
	s.after(a.cfg.RequestTimeout, func() {
		if !f.reported {
			c.die(errLate)
		}
	})
}

func (a *actor) hangUp(n *node) {
	if c, ok := n.conn.(*simConn); ok {
		c.die(errHungUp)
	}
}

// die breaks the connection as the client sees it.
func (c *simConn) die(err error) {
	if c.dead {
		return
	}
	s := c.a.s
	c.dead = true
	at, lost := s.now, false
	for _, f := range c.flights {
		if f.reported {
			continue
		}
		s.after(s.upTo(5*time.Millisecond), func() { f.report(err) })
		if f.lost || f.executed {
			continue
		}
		lost = lost || s.quiet || s.rnd.Float64() >= s.f.keep
		f.lost = lost
		at = at.Add(s.upTo(s.f.late) / 2)
		f.not = at
	}
	s.tracef("p%d: connection to %d breaks: %v", c.a.id, c.node.id, err)
	c.last = at
}

func (f *flight) report(err error) {
	if f.reported {
		return
	}
	f.reported = true
	f.c.flights = slices.DeleteFunc(f.c.flights, func(x *flight) bool { return x == f })
	f.r.err = err
	f.c.a.post(func(now time.Time) { f.c.a.m.produced(f.r, now) })
}

func (f *flight) arrive() {
	s := f.c.a.s
	if f.lost {
		return
	}
	b := s.cl.byAddr(f.c.node.addr)
	switch {
	case b == nil || !b.up:
		f.lost = true
		f.c.die(errRefuse)
		return
	case b.paused.After(s.now):
		s.at(b.paused.Add(s.upTo(time.Millisecond)), f.arrive)
		return
	case f.not.After(s.now):
		s.at(f.not, f.arrive)
		return
	}
	f.c.pipe = append(f.c.pipe, f)
	f.c.pump(b)
}

// pump executes the next request, if none is being executed.
func (c *simConn) pump(b *broker) {
	s := c.a.s
	if c.busy || len(c.pipe) == 0 {
		return
	}
	f := c.pipe[0]
	if at := later(b.paused, f.not); at.After(s.now) {
		c.busy = true
		s.at(at, func() {
			c.busy = false
			c.pump(b)
		})
		return
	}
	c.pipe = c.pipe[1:]
	if f.lost || !b.up {
		c.pump(b)
		return
	}
	c.busy, f.executed = true, true
	f.r.took = s.now.Sub(f.sent)
	results := make([]result, len(f.batches))
	left := len(f.batches)
	for i, sb := range f.batches {
		answered := false
		s.cl.append(b, sb, func(r result) {
			if answered {
				s.violated("the model answers twice")
			}
			answered = true
			results[i] = r
			if left--; left == 0 {
				s.after(s.upTo(2*time.Millisecond), func() {
					c.busy = false
					f.answer(results)
					c.pump(b)
				})
			}
		})
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (f *flight) answer(results []result) {
	if f.c.dead || f.c.mute || f.reported {
		return
	}
	f.reported = true
	f.c.flights = slices.DeleteFunc(f.c.flights, func(x *flight) bool { return x == f })
	f.r.results = results
	s := f.c.a.s
	for i, r := range results {
		s.tracef("p%d gets for %v seq %d: %v", f.c.a.id, f.batches[i].tp, f.batches[i].seq, r.code)
	}
	f.c.a.post(func(now time.Time) { f.c.a.m.produced(f.r, now) })
}

func (a *actor) view(topics []string) {
	s := a.s
	d := time.Millisecond + s.upTo(5*time.Millisecond)
	if s.chance(s.f.view) {
		s.after(d+s.upTo(a.cfg.RequestTimeout), func() { a.post(func(now time.Time) { a.m.viewed(nil, errCut, now) }) })
		return
	}
	s.after(d, func() {
		v := s.cl.view(topics)
		a.post(func(now time.Time) { a.m.viewed(v, nil, now) })
	})
}

// simCall is a coordinator call under way.
type simCall struct {
	c        *call
	returned bool
}

func (a *actor) call(c *call) {
	s := a.s
	sc := &simCall{c: c}
	a.calling = sc
	req := *c // as it is on the wire
	back := func(x answer, err error) {
		if sc.returned {
			return
		}
		sc.returned = true
		s.tracef("p%d: %v %d/%d gets %v %v", a.id, req.kind, req.pid, req.epoch, x.code, err)
		a.post(func(now time.Time) { a.m.called(c, x, err, now) })
	}
	s.tracef("p%d: %v %d/%d commit %v, try %d", a.id, req.kind, req.pid, req.epoch, req.commit, req.tries)
	there := 200*time.Microsecond + s.upTo(3*time.Millisecond)
	lost, unanswered := s.chance(s.f.callLost), s.chance(s.f.callAnswer)
	if lost || unanswered {
		s.after(there+s.upTo(a.cfg.RequestTimeout), func() { back(answer{}, errCut) })
		if lost && !s.chance(s.f.callLate) {
			return
		}
		if lost {
			there += s.upTo(s.f.late) // delivered, but late
		}
	}
	s.after(there, func() {
		x := s.cl.coordinate(a.cfg.TransactionalID, &req)
		s.tracef("coordinator: %v %d/%d of p%d: %v", req.kind, req.pid, req.epoch, a.id, x.code)
		if !lost && !unanswered {
			s.after(s.upTo(3*time.Millisecond), func() { back(x, nil) })
		}
	})
}

func (a *actor) dropCall(c *call) {
	if sc := a.calling; sc != nil && sc.c == c && !sc.returned {
		sc.returned = true
		a.s.after(a.s.upTo(time.Millisecond), func() {
			a.post(func(now time.Time) { a.m.called(c, answer{}, errHungUp, now) })
		})
	}
}
