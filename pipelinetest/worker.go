package pipelinetest

import (
	"context"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Option sets something of one run of a pipeline on a [Cluster].
type Option func(*Worker)

// Instance names the worker. Workers of different names share a group's
// partitions; one that starts under a name takes over from the one before, and
// ends its transaction. Default "worker".
func Instance(name string) Option { return func(w *Worker) { w.name = name } }

// Group sets the consumer group. Default: the pipeline's name.
func Group(name string) Option { return func(w *Worker) { w.group = name } }

// Engine passes options on to [pipeline.Run], after the test's own: nothing is
// logged by default.
func Engine(opts ...pipeline.RunOption) Option {
	return func(w *Worker) { w.engine = append(w.engine, opts...) }
}

// runState is the call of pipeline.Run.
type runState struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error
	stats  pipeline.Stats
}

// Worker is one run of a pipeline on a [Cluster]: one member of the group and one
// producer. Its methods may be called from any goroutine.
type Worker struct {
	c        *Cluster
	name     string
	group    string
	untilEnd bool
	engine   []pipeline.RunOption
	into     func() pipeline.Sink        // or nil
	fence    func(context.Context) error // of a sink that keeps positions
	run      runState

	// Guarded by the cluster's mu.
	member *member
	epoch  int // of its producer
	dead   bool
	frozen bool
}

// Ends returns a source, which reads tables, too, and a sink with transactions, for
// one call of [pipeline.Run], for those who call it themselves. [Cluster.Run] and
// [Cluster.Start] do. Options of the engine have no effect on them.
func (c *Cluster) Ends(opts ...Option) (pipeline.Source, pipeline.Sink) {
	w := c.worker(opts)
	return w.source(), w.sink()
}

func (c *Cluster) worker(opts []Option) *Worker {
	w := &Worker{c: c, name: "worker"}
	for _, o := range opts {
		o(w)
	}
	w.run.done = make(chan struct{})
	return w
}

func (w *Worker) source() *source { return &source{c: w.c, w: w} }

// enter makes the worker the one of its name.
func (w *Worker) enter(spec pipeline.Spec) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.group == "" {
		w.group = spec.Pipeline
	}
	w.c.workers[w.name] = w
}

// txnID is stable for a name, as in package sinks/kafka.
func (w *Worker) txnID() string { return w.group + "-" + w.name }

// Run runs a pipeline until its group has committed everything that was fed, and
// what the pipeline itself wrote to its inputs, and stops it in order; or until
// ctx ends. It returns what [pipeline.Run] returns, or [ErrCrashed].
func (c *Cluster) Run(ctx context.Context, p *pipeline.Pipeline, opts ...Option) error {
	w := c.worker(opts)
	w.untilEnd = true
	w.start(ctx, p)
	return w.Wait()
}

// Start runs a pipeline in the background, until it is stopped or fails. Wait for
// it, or stop it: nothing else ends its goroutines.
func (c *Cluster) Start(ctx context.Context, p *pipeline.Pipeline, opts ...Option) *Worker {
	w := c.worker(opts)
	w.start(ctx, p)
	return w
}

func (w *Worker) start(ctx context.Context, p *pipeline.Pipeline) {
	ctx, w.run.cancel = context.WithCancelCause(ctx)
	opts := append([]pipeline.RunOption{
		pipeline.Logger(slog.New(slog.DiscardHandler)), pipeline.Observe(&w.run.stats),
	}, w.engine...)
	go func() {
		defer close(w.run.done)
		defer w.run.cancel(nil)
		err := pipeline.Run(ctx, p, w.source(), w.sink(), opts...)
		w.c.mu.Lock()
		if w.dead {
			err = ErrCrashed
		}
		w.c.mu.Unlock()
		w.run.err = err
	}()
}

// Wait returns when the run has ended, with what [pipeline.Run] returned, or
// [ErrCrashed].
func (w *Worker) Wait() error {
	<-w.run.done
	return w.run.err
}

// Done is closed when the run has ended.
func (w *Worker) Done() <-chan struct{} { return w.run.done }

// Stop stops the run in order and waits for it.
func (w *Worker) Stop() error {
	w.run.cancel(nil)
	return w.Wait()
}

// Stats returns the run's counters, unless an option has replaced them.
func (w *Worker) Stats() pipeline.Snapshot { return w.run.stats.Snapshot() }

// Crash ends the worker's process at once, see the [Fault] of this name. It does
// not wait.
func (w *Worker) Crash() {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.dead {
		return
	}
	w.dead = true
	if m := w.member; m != nil {
		time.AfterFunc(c.cfg.SessionTimeout, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if g := c.group(w.group); g.members[m.id] == m {
				c.remove(g, m.id)
			}
		})
	}
	c.broadcast()
	if w.run.cancel != nil {
		w.run.cancel(ErrCrashed)
	}
}

// LoseSession removes the worker from its group, as after missed heartbeats. It
// learns so at once and begins another session.
func (w *Worker) LoseSession() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.member != nil {
		w.c.remove(w.c.group(w.group), w.member.id)
	}
}

// Freeze makes a zombie of the worker: the group removes it and gives its
// partitions away, and it does not learn so until Thaw, or until it joins anew by
// itself. What it has it goes on processing and trying to commit.
func (w *Worker) Freeze() {
	w.c.mu.Lock()
	w.frozen = true
	w.c.mu.Unlock()
	w.LoseSession()
}

// Thaw lets a frozen worker learn what has happened.
func (w *Worker) Thaw() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.frozen = false
	w.c.broadcast()
}

// Finished reports whether the pipeline's group has committed everything that is
// in its inputs, and nothing of them is held by an open transaction.
func (c *Cluster) Finished(p *pipeline.Pipeline, opts ...Option) bool {
	w := c.worker(append([]Option{Group(p.Name())}, opts...))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished(w.group, p.Inputs())
}

// AwaitFinished returns nil when [Cluster.Finished] is true, or ctx's error.
func (c *Cluster) AwaitFinished(ctx context.Context, p *pipeline.Pipeline, opts ...Option) error {
	w := c.worker(append([]Option{Group(p.Name())}, opts...))
	if !c.await(func() bool { return c.finished(w.group, p.Inputs()) }, ctx.Done()) {
		return context.Cause(ctx)
	}
	return nil
}
