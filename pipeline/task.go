package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"
)

// Task is a pipeline's graph compiled into one call chain for one input
// partition. It is not safe for concurrent use: whoever owns the partition's
// goroutine owns the task, its stages' state and its staged outputs.
//
// [Run] makes and drives tasks by itself. They are exported for other engines
// and for tests.
type Task struct {
	p         *Pipeline
	partition Partition
	chain     Handler
	hooks     []stageHooks
	nodes     []*node // by StageContext id

	delay   time.Duration // of the partition's topic, if it is a retry topic
	later   *retryTopic   // where a record that fails goes; nil for the dead letters, or to try in place
	input   *node
	line    *line // of an input that is retried in order, for its own partitions
	ordered bool  // it is such an input
	tries   int   // in place, of the record at triedAt

	triedAt int64

	current *Raw  // the record being processed
	running int32 // id of the stage whose code runs
	timing  bool  // the current record is timed
	mark    int   // outputs below it belong to finished records
	staged  []Output
	held    *Held      // the current record, if a stage holds it
	flight  []*Held    // records that are held and those after them, in order
	holds   bool       // a stage holds records now and then
	groups  []group    // of what is staged
	holder  int32      // id of the stage that was the last to begin to hold
	torn    error      // why nothing can be handed over any more: held records were given up
	changes []Change   // of stages' states, for the record being processed
	changed int        // those below it belong to the record that is interrupted by a resumed one
	again   []follower // records to go on with, since what they followed has failed
	arena   arena

	maxRecord int
	intercept func(*Outgoing)
	outputs   []string // topics that interceptors may choose from
	dead      *deadLetterMeter
	onWait    func(ctx context.Context, stage string, err error)
	onWaited  func()
	aside     aside
	stop      <-chan struct{}
	restore   func(ctx context.Context, p Partition, apply func(*Raw) error) error
	counts    taskCounts
	meter     *taskMeter     // nil unless somebody looks
	letters   []DeadLettered // not handed over yet, if observe
	observe   bool
}

type taskCounts struct {
	records, outputs, deadLetters, retriedLater, behind, skipped int64
	inputBytes, outputBytes                                      int64
}

// TaskConfig is what a task needs to know of its surroundings. The zero value
// works.
type TaskConfig struct {
	// MaxRecordSize bounds one output, uncompressed, in bytes. 0 means no limit.
	MaxRecordSize int
	// Intercept is what [Terms] say of it.
	Intercept func(*Outgoing)
	// Stop, when closed, ends the waits of stages that try again.
	Stop <-chan struct{}
	// Restore reads the state of a stage, see [StateSource]; nil means that there is none.
	Restore func(ctx context.Context, p Partition, apply func(*Raw) error) error

	dead     *deadLetterMeter
	onWait   func(ctx context.Context, stage string, err error)
	onWaited func()
	// The same for waits on goroutines of stages: the first of several at once, and
	// those that come while it lasts.
	onWaitAside  func(ctx context.Context, stage string, err error)
	onRetryAside func(stage string)
	meter        *meter
	line         *line
	observe      bool // dead letters are to be kept for observers
}

// Compile makes the task for one partition of one of the pipeline's input
// topics, their retry topics included: see [Task.DueIn]. It fails if the pipeline is not valid or has no such input.
func (p *Pipeline) Compile(partition Partition, cfg TaskConfig) (*Task, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	input, tier := p.input(partition.Topic)
	if input == nil {
		return nil, fmt.Errorf("%w: pipeline %q has no input topic %q", ErrInvalid, p.name, partition.Topic)
	}
	t := &Task{
		p: p, partition: partition, dead: cfg.dead, onWait: cfg.onWait, onWaited: cfg.onWaited, stop: cfg.Stop,
		maxRecord: cfg.MaxRecordSize, intercept: cfg.Intercept, running: -1, observe: cfg.observe, restore: cfg.Restore, input: input,
	}
	t.ordered = input.cfg.order != nil
	if t.ordered && tier < 0 {
		t.line = cfg.line
		if t.line == nil {
			t.line = newLine()
		}
	}
	if tier >= 0 {
		t.delay = input.cfg.retries[tier].delay
	}
	if tier+1 < len(input.cfg.retries) {
		t.later = &input.cfg.retries[tier+1]
	}
	t.aside.onWait, t.aside.onRetry = cfg.onWaitAside, cfg.onRetryAside
	if cfg.meter != nil {
		t.meter = cfg.meter.task(input)
	}
	if t.intercept != nil {
		t.outputs = p.Outputs()
	}
	if t.maxRecord == 0 {
		t.maxRecord = math.MaxInt
	}
	if t.dead == nil {
		t.dead = newDeadLetterMeter(p.deadLetterRate, cfg.Intercept)
	}
	entry := t.compile(input, map[*node]any{}).(Next[[]byte])
	t.chain = func(ctx context.Context, r *Raw) error {
		t.staged = t.staged[:t.mark] // a middleware may run the chain again
		if t.held != nil || len(t.changes) > 0 {
			t.giveUp()
			t.undo()
		}
		if t.meter != nil {
			t.meter.runs++
		}
		err := entry(ctx, r)
		t.running = -1 // a middleware's code is no stage's
		return err
	}
	for i := len(p.mids) - 1; i >= 0; i-- {
		t.chain = p.mids[i](t.chain)
	}
	if tier >= 0 {
		t.chain = t.retried(t.chain)
	}
	return t, nil
}

// compile instantiates a node after everything below it. A node that several
// streams feed is one instance, with one state.
func (t *Task) compile(n *node, made map[*node]any) any {
	if e, ok := made[n]; ok {
		return e
	}
	next := make([]any, len(n.ports))
	for i, o := range n.ports {
		entries := make([]any, len(o.consumers))
		for j, c := range o.consumers {
			entries[j] = t.compile(c, made)
			if t.meter == nil {
				continue
			}
			if e := t.meter.m.first[o] + j; t.meter.m.edges[e].counted() {
				entries[j] = o.metered(t.meter, e, entries[j])
			}
		}
		next[i] = o.join(entries)
	}
	sc := &StageContext{task: t, node: n, id: int32(len(t.nodes))}
	t.nodes = append(t.nodes, n)
	e := n.instantiate(sc, next)
	made[n] = e
	return e
}

// Partition returns the input partition that the task is for.
func (t *Task) Partition() Partition { return t.partition }

// Process runs one input record through the chain. The record's outputs are
// staged behind those of earlier ones. If the chain fails, they are dropped, and
// the policy of the failing stage decides: a dead letter or a record for a retry topic
// takes their place, the record is skipped, or Process returns the error, a *[StageError], and the
// pipeline must stop. If ctx has ended, the record was not processed and Process
// returns ctx's error.
func (t *Task) Process(ctx context.Context, r *Raw) error {
	if t.meter == nil {
		return t.process(ctx, r)
	}
	if !t.meter.begin() {
		return t.process(ctx, r)
	}
	t.timing = true
	err := t.process(ctx, r)
	t.timing = false
	t.meter.end()
	return err
}

func (t *Task) process(ctx context.Context, r *Raw) error {
	t.current, t.mark = r, len(t.staged)
	if t.ordered {
		if done, err := t.queuesUp(r); done || err != nil {
			return err
		}
	}
	err := t.call(ctx, r)
	for try := 0; err != nil && IsRetriable(err) && ctx.Err() == nil; try++ {
		// From a middleware: Guard lets none through. The chain is run again.
		if err = t.pause(ctx, try, err); err == nil {
			err = t.call(ctx, r)
		}
	}
	if err != nil {
		t.undo()
		if err = t.settle(ctx, r, err); err != nil {
			t.giveUp()
			return err
		}
		if t.torn == nil {
			t.settled(r)
			return t.goOn(ctx)
		}
		return t.torn
	}
	if t.torn != nil { // a middleware has made light of it
		return t.torn
	}
	if t.ordered {
		if err := t.inLine(r); err != nil {
			t.giveUp()
			return err
		}
	}
	if !t.queue(false) {
		t.keep()
		if len(t.changes) > 0 {
			t.changes = settle(t.changes, true)
		}
	}
	t.done(r)
	if len(t.again) > 0 {
		return t.goOn(ctx)
	}
	return nil
}

// Reject applies the policy to a record that the sink refused: nothing of its
// chain is run.
func (t *Task) Reject(ctx context.Context, r *Raw, stage string, reason error) error {
	t.current, t.mark = r, len(t.staged)
	if t.ordered {
		if done, err := t.queuesUp(r); done || err != nil {
			return err
		}
	}
	se := &StageError{Pipeline: t.p.name, Stage: stage, Origin: r.Origin, Err: reason, policy: t.p.policy}
	if err := t.settle(ctx, r, se); err != nil {
		return err
	}
	t.settled(r)
	return nil
}

// settled is for a record whose policy has decided.
func (t *Task) settled(r *Raw) {
	if !t.queue(true) {
		t.mark = len(t.staged) // a dead letter is counted as one, not as an output
	}
	t.done(r)
}

func (t *Task) done(r *Raw) {
	if t.ordered && t.line == nil {
		t.leaveLine(r)
	}
	t.counts.records++
	t.counts.inputBytes += int64(inputSize(r))
}

func inputSize(r *Raw) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// call runs the chain and turns a panic into the error of the stage that ran.
func (t *Task) call(ctx context.Context, r *Raw) (err error) {
	returned := false
	t.running = -1
	defer func() {
		if returned {
			return
		}
		err = t.panicked(r.Origin, &PanicError{Value: recover(), Stack: debug.Stack()})
	}()
	err = t.chain(ctx, r)
	returned = true
	return err
}

// panicked is a panic as the error of the stage that ran.
func (t *Task) panicked(origin Origin, pe *PanicError) error {
	t.failedAt(t.running)
	return &StageError{Pipeline: t.p.name, Stage: t.stageName(t.running), Origin: origin, Err: pe, policy: t.stagePolicy(t.running)}
}

// failedAt counts a record that a stage does not pass on.
func (t *Task) failedAt(stage int32) {
	if t.meter != nil && stage >= 0 {
		t.meter.failed[t.nodes[stage].id]++
	}
}

// settle decides what becomes of a record whose chain has failed.
func (t *Task) settle(ctx context.Context, r *Raw, err error) error {
	t.staged = t.staged[:t.mark]
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errInterrupted) {
		return err
	}
	se, ok := errors.AsType[*StageError](err)
	if !ok { // a middleware's own
		se = &StageError{Pipeline: t.p.name, Stage: "middleware", Origin: r.Origin, Err: err, policy: t.p.policy}
	}
	if IsFatal(err) {
		return err
	}
	if t.held != nil && t.held.over { // another part of it has failed before
		return nil
	}
	switch se.policy.action {
	case actionSkip:
		t.counts.skipped++
		if t.meter != nil {
			t.meter.m.troubled(se.Stage, func(t *trouble) { t.skipped++ })
		}
		return nil
	case actionDeadLetter:
		return t.deadLetter(r, se)
	case actionRetryLater:
		return t.retryLater(r, se)
	default:
		return se
	}
}

// errInterrupted says that a record was given up in the middle because its
// partition is: it is neither done nor wrong.
var errInterrupted = errors.New("interrupted")

// reserve stages an output that the caller fills in: a copy of its 170 bytes less
// than appending one. The slot may hold an older output.
func (t *Task) reserve() *Output {
	n := len(t.staged)
	if n < cap(t.staged) {
		t.staged = t.staged[:n+1]
	} else {
		t.staged = append(t.staged, Output{})
	}
	return &t.staged[n]
}

// keep makes what is staged an output of finished records.
func (t *Task) keep() {
	for i := t.mark; i < len(t.staged); i++ {
		t.counts.outputBytes += int64(len(t.staged[i].Key) + len(t.staged[i].Value))
	}
	t.counts.outputs += int64(len(t.staged) - t.mark)
	t.mark = len(t.staged)
}

// forget drops the counts of what will be replayed.
func (t *Task) forget() {
	t.counts, t.letters = taskCounts{}, nil
	if t.meter != nil {
		t.meter.forget()
	}
}

// Outputs returns what is staged for finished records. The slice is valid until
// the next call of Process or Clear; what its elements refer to may be kept.
func (t *Task) Outputs() []Output { return t.staged[:t.mark] }

// Clear forgets what Outputs returned: it has been handed over. It calls the stages'
// HandedOver hooks.
func (t *Task) Clear() {
	n := copy(t.staged, t.staged[t.mark:]) // of a record in progress, if any
	clear(t.staged[n:])
	t.staged, t.mark = t.staged[:n], 0
	t.notify(func(h *Hooks) func() { return h.HandedOver })
}

func (t *Task) stageName(id int32) string {
	if id < 0 || int(id) >= len(t.nodes) {
		return "middleware"
	}
	return t.nodes[id].name
}

func (t *Task) stagePolicy(id int32) Policy {
	if id < 0 || int(id) >= len(t.nodes) {
		return t.p.policy
	}
	return t.nodes[id].policy()
}

// runningStage names the stage whose code runs, for whoever waits for it. It
// reads one aligned word that the chain's goroutine stores without
// synchronization: making that store atomic would cost more than a trivial stage.
//
//go:norace
func (t *Task) runningStage() string { return t.stageName(t.running) }

// pause waits before a chain is run again.
func (t *Task) pause(ctx context.Context, try int, err error) error {
	return t.pauseFor(ctx, unlimitedBackoff.Wait(try), err)
}

func (t *Task) waiting(ctx context.Context, sc *StageContext, err error) {
	t.wait(ctx, sc.node.name, err)
}

func (t *Task) wait(ctx context.Context, stage string, err error) {
	if t.onWait != nil {
		t.onWait(ctx, stage, err)
	}
}

func (t *Task) waited() {
	if t.onWaited != nil {
		t.onWaited()
	}
}
