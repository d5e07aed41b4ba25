package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stage is one step of a chain, and the way to write a new kind of one; package
// stages has the usual kinds. It is called once for each task, when the task's
// chain is compiled, and returns the function that runs for each record. What it
// allocates then (a scratch record, a buffer, state) belongs to that task and
// needs no lock.
//
// The returned function is called from one goroutine at a time. It must
// announce user code with sc.Enter, wrap its own errors with sc.Fail, and return
// errors of next untouched.
type Stage[In, Out any] func(sc *StageContext, next Next[Out]) Next[In]

// Apply appends a stage to a stream. kind is a word for the drawing, such as
// "map"; the name must be unique in the pipeline.
func Apply[In, Out any](s Stream[In], kind, name string, stage Stage[In, Out], opts ...StageOption) Stream[Out] {
	n := s.attach(kind, name, opts, func(sc *StageContext, next []any) any {
		return stage(sc, next[0].(Next[Out]))
	}, newPort[Out]())
	return Stream[Out]{n: n}
}

// Apply2 appends a stage with two outgoing streams.
func Apply2[In, A, B any](s Stream[In], kind, name string,
	stage func(sc *StageContext, a Next[A], b Next[B]) Next[In], opts ...StageOption,
) (Stream[A], Stream[B]) {
	n := s.attach(kind, name, opts, func(sc *StageContext, next []any) any {
		return stage(sc, next[0].(Next[A]), next[1].(Next[B]))
	}, newPort[A](), newPort[B]())
	return Stream[A]{n: n}, Stream[B]{n: n, port: 1}
}

// ApplyN appends a stage with n outgoing streams of one type.
func ApplyN[In, Out any](s Stream[In], kind, name string, n int,
	stage func(sc *StageContext, out []Next[Out]) Next[In], opts ...StageOption,
) []Stream[Out] {
	ports := make([]*port, max(n, 0))
	for i := range ports {
		ports[i] = newPort[Out]()
	}
	node := s.attach(kind, name, opts, func(sc *StageContext, next []any) any { return stage(sc, nexts[Out](next)) }, ports...)
	if n < 1 {
		node.p.mistake("stage %q has %d branches; use at least 1", name, n)
	}
	streams := make([]Stream[Out], len(ports))
	for i := range streams {
		streams[i] = Stream[Out]{n: node, port: i}
	}
	return streams
}

// Join makes one stream of several. Records keep their order within each.
func Join[T any](name string, streams ...Stream[T]) Stream[T] {
	var n *node
	for _, s := range streams {
		switch {
		case s.n == nil:
		case n == nil:
			n = s.attach("merge", name, nil, func(_ *StageContext, next []any) any { return next[0] }, newPort[T]())
			n.cfg.oneToOne = true
		case n.p != s.n.p:
			n.p.mistake("stage %q merges streams of pipelines %q and %q; merge streams of one pipeline", name, n.p.name, s.n.p.name)
		default:
			s.feed(n)
		}
	}
	return Stream[T]{n: n}
}

func (s Stream[T]) attach(label, name string, opts []StageOption, inst func(*StageContext, []any) any, ports ...*port) *node {
	if s.n == nil {
		s.n = New("").add(&node{ports: []*port{newPort[T]()}}) // goes nowhere; keeps the caller's types
		s.port = 0
	}
	n := s.n.p.add(&node{name: name, kind: kindStage, label: label, ports: ports, instantiate: inst})
	n.configure(opts)
	if n.cfg.hasTombs {
		n.p.mistake("stage %q: Tombstones is an option of inputs", name)
	}
	n.refuseRetries()
	if n.cfg.partitioner != nil || n.cfg.headers != nil {
		n.p.mistake("stage %q: PartitionBy and AddHeader are options of outputs", name)
	}
	s.feed(n)
	return n
}

func (n *node) configure(opts []StageOption) {
	n.cfg.apply(opts)
	for _, p := range []Policy{n.cfg.policy, n.cfg.tombstones} {
		if err := p.validate(); err != nil {
			n.p.mistake("stage %q: %w", n.name, err)
		}
	}
	if n.cfg.mistake != nil {
		n.p.mistake("stage %q: %w", n.name, n.cfg.mistake)
	}
	if n.cfg.timeout < 0 {
		n.p.mistake("stage %q: Timeout must not be negative", n.name)
	}
}

// StageContext is a stage's view of the task that it is compiled into.
type StageContext struct {
	task *Task
	node *node
	id   int32
}

// Name returns the stage's name.
func (sc *StageContext) Name() string { return sc.node.name }

// Partition returns the input partition whose records the task processes.
func (sc *StageContext) Partition() Partition { return sc.task.partition }

// Enter says that user code of this stage runs next, so that a panic or a
// deadline can be laid at the right door, and so can the time from here to the next
// stage's Enter. It costs a store and a branch.
func (sc *StageContext) Enter() {
	t := sc.task
	t.running = sc.id
	if t.timing {
		t.meter.enter(sc.node.id)
	}
}

// Drop says that the stage lets the current record end here, on purpose, for the
// counters. It costs a branch.
func (sc *StageContext) Drop() {
	if m := sc.task.meter; m != nil {
		m.dropped[sc.node.id]++
	}
}

// Fail makes err the stage's error for the current record; nil stays nil. An
// error that has a stage already is returned as it is.
func (sc *StageContext) Fail(err error) error {
	if err == nil {
		return nil
	}
	if se, ok := errors.AsType[*StageError](err); ok && se.Pipeline == sc.node.p.name {
		return err
	}
	sc.task.failedAt(sc.id)
	return &StageError{
		Pipeline: sc.node.p.name, Stage: sc.node.name, Origin: sc.task.current.Origin, Err: err, policy: sc.node.policy(),
	}
}

// Failf is Fail with a formatted error.
func (sc *StageContext) Failf(format string, args ...any) error {
	return sc.Fail(fmt.Errorf(format, args...))
}

// Hook registers state hooks. Call it while the chain is compiled.
func (sc *StageContext) Hook(h Hooks) { sc.task.hooks = append(sc.task.hooks, stageHooks{sc, h}) }

// Hooks let a stage with state take part in the commit protocol. All are called
// on the goroutine that runs the task's chain, never during a record. Any may be
// nil.
//
// In Aborted, state must be put back to what it was in the last BeforeCommit that a
// Committed has followed, or replay drops or doubles records: keep a copy in
// BeforeCommit or HandedOver, make it the committed one in Committed. Records go on between the
// two, so what the state is in Committed is not what was committed. Between two
// calls of BeforeCommit the engine always says what became of the first.
type Hooks struct {
	// Assigned is called once, before the first record.
	Assigned func(ctx context.Context) error
	// BeforeCommit is called before the outputs and the position of everything
	// processed so far are handed to the transaction. It may put out records
	// that it held back. It is called again before the hand-over if a stage behind has
	// failed a record that others followed ([StageContext.Follow]): these go on then.
	BeforeCommit func(ctx context.Context) error
	// HandedOver is called when all that was there has been handed to the transaction, and
	// before the next record: what Committed vouches for. By then every change is settled
	// ([StageContext.Changed]); in BeforeCommit those of records that a stage behind holds
	// are not.
	HandedOver func()
	// Committed is called when a transaction has committed all that was handed
	// over before.
	Committed func()
	// Aborted is called when what was handed over since the last Committed will
	// be replayed.
	Aborted func()
	// Revoked is called once, when the partition is given up.
	Revoked func()
}

type stageHooks struct {
	sc *StageContext
	Hooks
}

// Guard returns fn under the stage's policy: it is tried again as Retry says,
// and without limit while its error is marked [Retriable]; each try gets the
// stage's Timeout. With none of these set, and unless the error asks for it, a
// call costs one store more than fn. Errors come back as the stage's.
func Guard[In, Out any](sc *StageContext, fn func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	g := &guard{sc: sc, policy: sc.node.policy(), timeout: sc.node.cfg.timeout}
	if g.timeout == 0 {
		return func(ctx context.Context, in In) (Out, error) {
			sc.Enter()
			out, err := fn(ctx, in)
			if err == nil {
				return out, nil
			}
			return guardRetry(ctx, g, fn, in, err)
		}
	}
	timed := func(ctx context.Context, in In) (Out, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		return fn(ctx, in)
	}
	return func(ctx context.Context, in In) (Out, error) {
		sc.Enter()
		out, err := timed(ctx, in)
		if err == nil {
			return out, nil
		}
		return guardRetry(ctx, g, timed, in, err)
	}
}

// guardRetry runs fn again, after it has failed with err, for as long as the
// policy has it.
func guardRetry[In, Out any](ctx context.Context, g *guard, fn func(context.Context, In) (Out, error), in In, err error) (out Out, _ error) {
	var n attempts
	for err != nil {
		if err = g.again(ctx, &n, err); err != nil {
			return out, err
		}
		g.sc.Enter()
		out, err = fn(ctx, in)
	}
	return out, nil
}

// attempts counts the tries that Retry allows apart from the waits for what is
// retriable, which have no limit and use up none of them.
type attempts struct{ tries, waits int }

// next returns the wait before the next try, or false if there is none.
func (n *attempts) next(p Policy, err error) (time.Duration, bool) {
	switch {
	case IsRetriable(err):
		n.waits++
		return unlimitedBackoff.Wait(n.waits - 1), true
	case IsFatal(err) || n.tries >= p.retries:
		return 0, false
	}
	n.tries++
	return p.backoff.Wait(n.tries - 1), true
}

// passing is the error to show for a wait: that of a try that Retry allows is none yet.
func passing(err error) error {
	if IsRetriable(err) {
		return err
	}
	return nil
}

type guard struct {
	sc      *StageContext
	policy  Policy
	timeout time.Duration
}

// unlimitedBackoff is the wait for what is retriable.
var unlimitedBackoff = Backoff{Initial: 100 * time.Millisecond, Max: 5 * time.Second}

// again waits before the next try and returns nil, or returns the stage's final
// error.
func (g *guard) again(ctx context.Context, n *attempts, err error) error {
	if ctx.Err() != nil {
		return g.sc.Fail(err)
	}
	wait, ok := n.next(g.policy, err)
	if !ok {
		return g.sc.Fail(err)
	}
	g.sc.task.waiting(ctx, g.sc, passing(err))
	defer g.sc.task.waited()
	switch g.sc.Wait(ctx, wait) {
	case nil:
		return nil
	case errInterrupted:
		return errInterrupted
	default:
		return g.sc.Fail(err)
	}
}
