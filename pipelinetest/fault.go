package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// Step is a step of the engine's protocol: a place where something can go wrong.
type Step string

// The steps. Those of the sink are calls of the transactional producer, those of
// the source are what happens around the records of one partition.
const (
	// StepInit takes the transactional id over, when a worker becomes ready.
	StepInit Step = "init"
	// StepTake takes a partition's position over, of a sink that keeps the positions
	// itself (see [Into]).
	StepTake Step = "take"
	// StepBegin opens a transaction.
	StepBegin Step = "begin"
	// StepSend hands over the outputs of a piece of a batch.
	StepSend Step = "send"
	// StepFlush waits for the acknowledgements, at least once. A commit of a
	// transaction includes it.
	StepFlush Step = "flush"
	// StepOffsets adds the positions to the transaction; at least once it
	// commits them.
	StepOffsets Step = "offsets"
	// StepCommit commits the transaction.
	StepCommit Step = "commit"
	// StepAbort aborts the transaction.
	StepAbort Step = "abort"
	// StepFetch fetches the committed position of a partition.
	StepFetch Step = "fetch-committed"
	// StepAssign hands a partition to the worker.
	StepAssign Step = "assign"
	// StepRestore reads the state of a partition's stages, one partition of a state
	// topic at a time.
	StepRestore Step = "restore"
	// StepDeliver hands a batch of records to a partition's chain.
	StepDeliver Step = "deliver"
	// StepTell tells the group a position that the sink keeps itself. An error has no
	// consequence but that the group does not know it.
	StepTell Step = "tell"
	// StepRevoke takes a partition away.
	StepRevoke Step = "revoke"
)

// Steps are all steps.
var Steps = []Step{
	StepInit, StepTake, StepBegin, StepSend, StepFlush, StepOffsets, StepCommit, StepAbort, StepTell,
	StepFetch, StepAssign, StepRestore, StepDeliver, StepRevoke,
}

func (s Step) ofSink() bool {
	return slices.Contains(Steps[:9], s)
}

// When is the side of a step.
type When uint8

// The sides of a step: before it has had an effect, and after it has.
const (
	Before When = iota
	After
)

// String returns before or after.
func (w When) String() string { return [...]string{"before", "after"}[w] }

// Kind is what happens at a step.
type Kind uint8

// The kinds of faults. Before the step they stand in the place of its effect,
// after it they come on top.
const (
	// Abortable is a definite failure: nothing is committed. The sink returns a
	// SinkError with the verdict Abortable. At a step of the source it is
	// LoseSession.
	Abortable Kind = iota
	// Ambiguous is a time-out: the sink returns an error that leaves open what
	// has happened. Before the step nothing has, after it everything.
	Ambiguous
	// Fence lets another producer take the transactional id, which aborts what
	// is open; the sink returns the verdict Fenced.
	Fence
	// FatalError is an error that nobody gets over, such as a refused login.
	FatalError
	// Crash ends the worker's process: nothing that it does has an effect any
	// more. Its transaction stays open until its id is taken over or its time
	// is up, its place in the group until it is back or its session times out.
	Crash
	// LoseSession removes the worker from its group. The step itself goes on; the
	// worker learns of it afterwards.
	LoseSession
	// LateEnd holds the EndTxn of a commit or an abort back. The caller sees a
	// time-out; the request arrives when the id's next transaction is open,
	// unless its epoch is over by then (KAFKA-17754).
	LateEnd
)

// String returns the kind as the names of subtests have it.
func (k Kind) String() string {
	return [...]string{"abortable", "ambiguous", "fence", "fatal", "crash", "lose-session", "late-end"}[k]
}

// ErrInjected is what every error of a [Fault] wraps.
var ErrInjected = errors.New("injected")

// ErrCrashed is returned by a worker that a [Fault] or [Worker.Crash] ended.
var ErrCrashed = errors.New("the worker has crashed")

// Fault makes one step go wrong once.
type Fault struct {
	Step Step
	When When
	// N is which occurrence it is, counted from the injection; 0 and 1 are the
	// next. Of two faults for one occurrence the second takes the one after.
	N    int
	Kind Kind
	// Worker limits the fault to the worker of this name. Default: any.
	Worker string
}

// String returns step/when/n/kind.
func (f Fault) String() string {
	return fmt.Sprintf("%s/%v/%d/%v", f.Step, f.When, max(f.N, 1), f.Kind)
}

// Event is a step that a worker is at.
type Event struct {
	Step   Step
	When   When
	Worker string
	// N counts the occurrences of the step in this cluster, from 1.
	N int
	// Partition is set at the steps of the source.
	Partition pipeline.Partition
	// Offsets are the positions at StepOffsets.
	Offsets []pipeline.Offset
	// Records is the number of outputs at StepSend, of input records at
	// StepDeliver.
	Records int
}

// injector holds the faults of a cluster and counts the steps.
type injector struct {
	faults []*armed
	hooks  []func(context.Context, Event) error
	counts map[Step]int
	trace  []Event
}

type armed struct {
	Fault
	left int
}

// Inject arms a fault. Each goes off once.
func (c *Cluster) Inject(faults ...Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range faults {
		c.injector.faults = append(c.injector.faults, &armed{f, max(f.N, 1)})
	}
}

// Armed returns the faults that have not gone off.
func (c *Cluster) Armed() []Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Fault
	for _, f := range c.injector.faults {
		out = append(out, f.Fault)
	}
	return out
}

// OnStep calls f on both sides of every step from now on, on the goroutine that
// is there. f may block until ctx ends, to hold the step up, and may return an
// error: before the step in its place, after it on top of its effect.
func (c *Cluster) OnStep(f func(ctx context.Context, e Event) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.injector.hooks = append(c.injector.hooks, f)
}

// Trace returns the steps so far, both sides of each.
func (c *Cluster) Trace() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.injector.trace)
}

// count returns which occurrence of the step this is.
func (c *Cluster) count(s Step) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.injector.counts == nil {
		c.injector.counts = map[Step]int{}
	}
	c.injector.counts[s]++
	return c.injector.counts[s]
}

// at runs a step with what is injected around it. effect runs with mu held.
func (c *Cluster) at(ctx context.Context, w *Worker, e Event, effect func() error) error {
	e.N, e.Worker = c.count(e.Step), w.name
	if err := c.reach(ctx, w, e); err != nil {
		return err
	}
	c.mu.Lock()
	err := errCrashed()
	if !w.dead {
		err = effect()
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	e.When = After
	return c.reach(ctx, w, e)
}

func (c *Cluster) reach(ctx context.Context, w *Worker, e Event) error {
	c.mu.Lock()
	if w.dead {
		c.mu.Unlock()
		return errCrashed()
	}
	c.injector.trace = append(c.injector.trace, e)
	hooks := c.injector.hooks
	f := c.injector.match(e)
	c.mu.Unlock()
	for _, hook := range hooks {
		if err := hook(ctx, e); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	return c.strike(ctx, w, *f)
}

// match returns the fault that goes off at an event.
func (in *injector) match(e Event) *Fault {
	var hit *Fault
	in.faults = slices.DeleteFunc(in.faults, func(a *armed) bool {
		if hit != nil || a.Step != e.Step || a.When != e.When || a.Worker != "" && a.Worker != e.Worker {
			return false
		}
		a.left--
		if a.left > 0 {
			return false
		}
		hit = &a.Fault
		return true
	})
	return hit
}

// strike does what a fault does and returns the step's error.
func (c *Cluster) strike(ctx context.Context, w *Worker, f Fault) error {
	err := fmt.Errorf("%w: %v", ErrInjected, f)
	if !f.Step.ofSink() && (f.Kind == Abortable || f.Kind == Ambiguous || f.Kind == Fence || f.Kind == LateEnd) {
		f.Kind = LoseSession
	}
	if w.into != nil && f.Kind == LateEnd {
		f.Kind = Ambiguous
	}
	switch f.Kind {
	case Abortable:
		return &pipeline.SinkError{Op: string(f.Step), Verdict: pipeline.Abortable, Err: err}
	case Ambiguous:
		return &pipeline.SinkError{Op: string(f.Step), Err: err}
	case Fence:
		if w.fence != nil {
			return w.fence(ctx)
		}
		c.mu.Lock()
		c.takeOver(w.txnID())
		c.mu.Unlock()
		return &pipeline.SinkError{Op: string(f.Step), Verdict: pipeline.Fenced, Err: err}
	case FatalError:
		return pipeline.Fatal(err)
	case Crash:
		w.Crash()
		return errCrashed()
	case LoseSession:
		w.LoseSession()
		return nil
	case LateEnd:
		c.holdBack(w, f.Step)
		return &pipeline.SinkError{Op: string(f.Step), Err: err}
	}
	panic("pipelinetest: no such kind of fault: " + strings.TrimSpace(fmt.Sprint(uint8(f.Kind))))
}

// holdBack leaves an EndTxn on its way.
func (c *Cluster) holdBack(w *Worker, s Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.producers[w.txnID()]; p != nil {
		p.late = append(p.late, lateEnd{epoch: w.epoch, commit: s == StepCommit})
	}
}

// errCrashed is what every call of a dead worker returns: fatal, so that its
// engine does not try again.
func errCrashed() error { return pipeline.Fatal(ErrCrashed) }
