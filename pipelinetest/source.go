package pipelinetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// source is a worker's consumer, in the cooperative protocol: what stays is not
// interrupted.
type source struct {
	c    *Cluster
	w    *Worker
	spec pipeline.Spec

	reading map[pipeline.Partition]*pipeline.Reach // under c.mu
	applied map[string][]int64                     // of the tables' topics, under c.mu
}

func (s *source) Open(_ context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	s.spec = spec
	s.w.enter(spec)
	terms := pipeline.Terms{
		Guarantee: pipeline.ExactlyOnce, Cluster: clusterID, AsksStart: true,
		Limits: pipeline.Limits{Rebalance: s.c.cfg.RebalanceTimeout},
	}
	if err := s.c.missing(slices.Concat(spec.Inputs, spec.Tables, spec.StateTopics())); err != nil {
		return terms, err
	}
	counts := map[string]int32{}
	for name, t := range s.c.topics {
		counts[name] = t.Partitions
	}
	return terms, spec.CheckStates(counts)
}

func (s *source) Close() error { return nil }

// Run joins the group and runs one session after the other.
func (s *source) Run(ctx context.Context, engine *pipeline.Worker) error {
	m := &member{worker: s.w.name, topics: s.spec.Inputs}
	defer s.leave()
	for try := 0; ; try++ {
		if err := engine.Ready(ctx); err != nil {
			return err
		}
		s.c.mu.Lock()
		if s.w.dead {
			s.c.mu.Unlock()
			return errCrashed()
		}
		g := s.c.group(s.w.group)
		if g.members[m.id] != m {
			m = &member{worker: s.w.name, topics: s.spec.Inputs}
		}
		s.w.member, s.w.frozen = m, false // who joins learns how things are
		s.c.join(g, m)
		s.c.mu.Unlock()

		sess := &session{s: s, g: g, m: m, engine: engine, claims: map[pipeline.Partition]*claim{}, failed: make(chan error, 1)}
		again, err := sess.run(ctx)
		if err != nil || !again {
			return err
		}
		if sess.delivered {
			try = 0
		}
		select {
		case <-time.After(pipeline.Backoff{Initial: 50 * time.Millisecond}.Wait(try)):
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *source) leave() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if m := s.w.member; m != nil && !s.w.dead {
		s.c.remove(s.c.group(s.w.group), m.id)
	}
}

// Follow reads a table's topic.
func (s *source) Follow(ctx context.Context, topic string, apply func(context.Context, *pipeline.Raw) error, loaded func()) error {
	t := s.c.topic(topic)
	at := make([]int64, len(t.partitions))
	var ends []int64
	s.c.mu.Lock()
	for _, l := range t.partitions {
		ends = append(ends, l.lastStable())
	}
	s.c.mu.Unlock()
	for {
		var next []pipeline.Raw
		here := s.c.await(func() bool {
			moved := false
			for i, l := range t.partitions {
				to := l.readCommitted(at[i], func(e *entry) bool {
					next = append(next, e.Raw)
					return true
				})
				moved, at[i] = moved || to != at[i], to
			}
			return moved || ends != nil
		}, ctx.Done())
		if !here {
			return context.Cause(ctx)
		}
		for i := range next {
			if err := apply(ctx, &next[i]); err != nil {
				return err
			}
		}
		s.c.mu.Lock()
		if s.applied == nil {
			s.applied = map[string][]int64{}
		}
		s.applied[topic] = slices.Clone(at)
		s.c.broadcast()
		s.c.mu.Unlock()
		if ends != nil && reached(at, ends) {
			ends = nil
			loaded()
		}
	}
}

// CaughtUp implements pipeline.TableCatcher.
func (s *source) CaughtUp(ctx context.Context, topic string) error {
	t := s.c.topic(topic)
	var ends []int64
	s.c.mu.Lock()
	for _, l := range t.partitions {
		ends = append(ends, l.end())
	}
	s.c.mu.Unlock()
	if !s.c.await(func() bool { at := s.applied[topic]; return at != nil && reached(at, ends) }, ctx.Done()) {
		return context.Cause(ctx)
	}
	return nil
}

func reached(at, ends []int64) bool {
	for i := range at {
		if at[i] < ends[i] {
			return false
		}
	}
	return true
}

// session is one membership.
type session struct {
	s      *source
	g      *group
	m      *member
	engine *pipeline.Worker

	claims    map[pipeline.Partition]*claim
	failed    chan error
	delivered bool // guarded by the cluster's mu
}

// run is the session from its begin to its end; it reports whether there shall be
// another.
func (s *session) run(ctx context.Context) (again bool, err error) {
	s.engine.Begin(s)
	again, err = s.follow(ctx)
	s.release(nil)
	s.engine.End()
	select {
	case failed := <-s.failed: // while it was released
		if err == nil {
			err = failed
		}
	default:
	}
	return again, err
}

// follow does what the group says until the session is over.
func (s *session) follow(ctx context.Context) (again bool, err error) {
	c, w := s.s.c, s.s.w
	for {
		c.mu.Lock()
		changed, dead := c.changed, w.dead
		done := w.untilEnd && c.finished(w.group, s.s.spec.Inputs)
		var p plan
		if !w.frozen {
			p = s.g.sync(s.m)
		}
		c.mu.Unlock()
		switch {
		case dead:
			return false, errCrashed()
		case done:
			return false, nil
		case p.lost:
			return true, nil
		}
		for _, part := range p.grant {
			s.start(part)
		}
		if len(p.revoke) > 0 {
			s.release(p.revoke)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, nil
		case <-s.engine.SessionOver():
			return true, nil
		case err := <-s.failed:
			return false, err
		}
	}
}

// finished reports whether a group has committed everything that there is or can
// still come of what is open. mu must be held.
func (c *Cluster) finished(group string, inputs []string) bool {
	g := c.group(group)
	for _, name := range inputs {
		for _, l := range c.topics[name].partitions {
			if !l.passed(g.committed[l.part]) {
				return false
			}
		}
	}
	return true
}

// release takes partitions away, all of them if parts is nil, and returns when
// nothing of them will be committed any more.
func (s *session) release(parts []pipeline.Partition) {
	if parts == nil {
		for part := range s.claims {
			parts = append(parts, part)
		}
	}
	for _, part := range parts {
		s.claims[part].stop()
	}
	for _, part := range parts {
		<-s.claims[part].done
		delete(s.claims, part)
		s.s.c.mu.Lock()
		s.s.c.released(s.g, s.m, part)
		s.s.c.mu.Unlock()
	}
}

// Group returns what the member knows of itself now.
func (s *session) Group() pipeline.GroupMetadata {
	s.s.c.mu.Lock()
	defer s.s.c.mu.Unlock()
	return pipeline.GroupMetadata{Group: s.s.w.group, Member: s.m.id, Instance: s.s.w.name, Generation: s.m.generation}
}

// CommitOffsets commits outside any transaction.
func (s *session) CommitOffsets(ctx context.Context, offsets []pipeline.Offset) error {
	c, w, meta := s.s.c, s.s.w, s.Group()
	step := StepOffsets
	if w.fence != nil {
		step = StepTell
	}
	return c.at(ctx, w, Event{Step: step, Offsets: offsets}, func() error {
		if err := s.g.check(meta); err != nil {
			return &pipeline.SinkError{Op: "offsets", Verdict: pipeline.Abortable, Err: err}
		}
		m := map[pipeline.Partition]int64{}
		for _, o := range offsets {
			m[o.Partition] = o.Next
		}
		c.committed(w.name, w.group, m, 0)
		return nil
	})
}

// claim is one partition while the session has it.
type claim struct {
	ctx  context.Context // ended: give it up
	stop context.CancelFunc
	done chan struct{} // closed: given up
}

func (s *session) start(part pipeline.Partition) {
	cl := &claim{done: make(chan struct{})}
	cl.ctx, cl.stop = context.WithCancel(context.Background())
	s.claims[part] = cl
	go func() {
		defer close(cl.done)
		if err := s.feed(part, cl); err != nil {
			select {
			case s.failed <- err:
			default:
			}
		}
	}()
}

// feed delivers a partition from its committed position on.
func (s *session) feed(part pipeline.Partition, cl *claim) error {
	c, w, ctx := s.s.c, s.s.w, cl.ctx
	at := int64(0)
	err := c.step(ctx, w, Event{Step: StepFetch, Partition: part}, func() error {
		c.await(func() bool {
			at = s.g.committed[part]
			return !c.pending(w.group, part) // else it is not stable
		}, ctx.Done())
		return nil
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	var ec *pipeline.Claim
	if at, err = s.engine.Start(ctx, pipeline.Beginning{Partition: part, Position: at}); err != nil {
		if pipeline.IsFatal(err) {
			return err
		}
		return nil // the session is over, or the partition revoked
	}
	err = c.step(ctx, w, Event{Step: StepAssign, Partition: part}, func() (err error) {
		ec, err = s.engine.Claim(part, at)
		return err
	})
	if ec == nil {
		return err
	}
	delivering := make(chan error, 1)
	go func() { delivering <- s.deliver(ctx, part, at, ec) }()
	if err == nil {
		select {
		case err = <-delivering:
			delivering <- nil
		case <-ctx.Done():
		case <-ec.Done():
		}
	}
	s.revoke(part, ec)
	if late := <-delivering; err == nil {
		err = late
	}
	return err
}

// deliver hands over batches until the claim takes no more.
func (s *session) deliver(ctx context.Context, part pipeline.Partition, at int64, ec *pipeline.Claim) error {
	c, w := s.s.c, s.s.w
	l := c.topics[part.Topic].partitions[part.Partition]
	reach := s.s.reads(part)
	defer s.s.readsNoMore(part)
	for {
		b := ec.NewBatch()
		if !c.await(func() bool {
			reach.Held = false // who asks for more has delivered the last ones
			at = l.readCommitted(at, func(e *entry) bool {
				if len(b.Records) == c.cfg.BatchRecords || b.Full() {
					return false
				}
				b.Records = append(b.Records, e.Raw)
				b.Bytes += e.size()
				return true
			})
			reach.Read, reach.Held = at, len(b.Records) > 0
			return reach.Held
		}, ec.Done(), ctx.Done()) {
			return nil
		}
		more := true
		err := c.step(ctx, w, Event{Step: StepDeliver, Partition: part, Records: len(b.Records)}, func() error {
			more = ec.Deliver(b)
			return nil
		})
		if err != nil || !more {
			return err
		}
		c.mu.Lock()
		s.delivered = true
		c.mu.Unlock()
	}
}

func (e *entry) size() int {
	n := len(e.Key) + len(e.Value)
	for _, h := range e.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// revoke gives a partition up. The engine is told in any case: a dead process has
// no goroutines, and this is how they end.
func (s *session) revoke(part pipeline.Partition, ec *pipeline.Claim) {
	var once sync.Once
	err := s.s.c.step(context.Background(), s.s.w, Event{Step: StepRevoke, Partition: part}, func() error {
		once.Do(ec.Release)
		return nil
	})
	once.Do(ec.Release)
	if err != nil {
		select {
		case s.failed <- err:
		default:
		}
	}
}

// step is at for an effect that must not hold mu.
func (c *Cluster) step(ctx context.Context, w *Worker, e Event, effect func() error) error {
	e.N, e.Worker = c.count(e.Step), w.name
	if err := c.reach(ctx, w, e); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	e.When = After
	return c.reach(ctx, w, e)
}
