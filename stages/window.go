package stages

import (
	"context"
	"sync"

	"github.com/leat-stream/leat/pipeline"
)

// window is what EnrichAsync and Parallel have in common: the records whose calls run
// on other goroutines, oldest first. It holds them, puts their results out in that
// order, and owns the goroutines: they last as long as there are calls, and whoever
// gives the calls up waits for them. All but what a call's goroutine does with the call
// is for the chain's goroutine.
type window[In, V, Out any] struct {
	sc      *pipeline.StageContext
	next    pipeline.Next[Out]
	scratch *pipeline.Record[Out]
	join    joint[In, V, Out]
	flush   func() // lets those go at once that wait for others

	claim  context.Context // the partition's, or nil if no engine has told
	run    context.Context // the calls'; nil if none was begun since they were given up
	cancel context.CancelFunc
	owned  sync.WaitGroup
	calls  []*call[In, V] // a ring; a call is used again
	first  int
	open   int
}

// joint makes of a record and its call's value the record that goes on.
type joint[In, V, Out any] func(ctx context.Context, in *pipeline.Record[In], value V, found bool, out *pipeline.Record[Out]) error

// valued is a joint for functions of values, which do not fail.
func valued[In, V, Out any](join func(in In, value V, found bool) Out) joint[In, V, Out] {
	return func(_ context.Context, in *pipeline.Record[In], value V, found bool, out *pipeline.Record[Out]) error {
		copyHead(out, in)
		out.Value = join(in.Value, value, found)
		return nil
	}
}

// call is one record's. Its goroutine sets value, missing and err, and finishes it.
type call[In, V any] struct {
	record  pipeline.Record[In]
	held    *pipeline.Held
	ctx     context.Context
	value   V
	missing bool // there is no value, which is no error
	err     error
	done    chan struct{} // has room for the one that finishes
}

func (c *call[In, V]) finish() { c.done <- struct{}{} }

// clear lets go of what the call refers to.
func (c *call[In, V]) clear() { *c = call[In, V]{done: c.done} }

func newWindow[In, V, Out any](sc *pipeline.StageContext, next pipeline.Next[Out], bound int, join joint[In, V, Out]) *window[In, V, Out] {
	w := &window[In, V, Out]{
		sc: sc, next: next, scratch: new(pipeline.Record[Out]), join: join,
		flush: func() {}, calls: make([]*call[In, V], bound),
	}
	sc.Hook(pipeline.Hooks{
		Assigned: func(ctx context.Context) error {
			w.claim = ctx
			return nil
		},
		BeforeCommit: func(context.Context) error { return w.drain() },
		Aborted:      w.forget,
		Revoked:      w.forget,
	})
	return w
}

// add puts out what is finished, waits until there is room, and holds the record. The
// caller begins the call.
func (w *window[In, V, Out]) add(ctx context.Context, r *pipeline.Record[In]) (*call[In, V], error) {
	for w.open > 0 && (w.open == len(w.calls) || len(w.calls[w.first].done) > 0) {
		if err := w.land(); err != nil {
			return nil, err
		}
	}
	at := (w.first + w.open) % len(w.calls)
	if w.calls[at] == nil {
		w.calls[at] = &call[In, V]{done: make(chan struct{}, 1)}
	}
	c := w.calls[at]
	c.record, c.held, c.ctx = *r, w.sc.Hold(), w.context(ctx)
	w.open++
	return c, nil
}

// drain puts out all, in order. It has no context: the calls end when the partition's
// does, and one that does not is for the engine to leave behind.
func (w *window[In, V, Out]) drain() error {
	for w.open > 0 {
		if err := w.land(); err != nil {
			return err
		}
	}
	return nil
}

// land waits for the first call and goes on with its record.
func (w *window[In, V, Out]) land() error {
	c := w.take()
	defer c.clear()
	return w.sc.Resume(c.ctx, c.held, func(ctx context.Context) error {
		w.sc.Enter()
		if c.err != nil {
			return w.sc.Fail(c.err)
		}
		if err := w.join(ctx, &c.record, c.value, !c.missing, w.scratch); err != nil {
			return err
		}
		return w.next(ctx, w.scratch)
	})
}

// take takes the first call out, finished.
func (w *window[In, V, Out]) take() *call[In, V] {
	c := w.calls[w.first]
	if len(c.done) == 0 {
		w.flush()
	}
	<-c.done
	w.first, w.open = (w.first+1)%len(w.calls), w.open-1
	return c
}

// forget gives the calls up and waits for their goroutines: the records come again, or
// are another worker's.
func (w *window[In, V, Out]) forget() {
	if w.run == nil {
		return
	}
	w.cancel()
	for w.open > 0 {
		w.take().clear()
	}
	w.owned.Wait()
	w.run, w.cancel = nil, nil
}

// context is that of a record's call, and of what comes after it: the call may outlast
// the record's own context, which a middleware may have given a deadline and which ends
// with the record's chain. It has that one's values.
func (w *window[In, V, Out]) context(ctx context.Context) context.Context {
	if w.run == nil {
		base := w.claim
		if base == nil {
			base = context.WithoutCancel(ctx)
		}
		w.run, w.cancel = context.WithCancel(base)
	}
	if ctx == w.claim {
		return w.run
	}
	return valuesOf{w.run, context.WithoutCancel(ctx)}
}

// valuesOf is a context with another one's values before its own.
type valuesOf struct {
	context.Context
	values context.Context
}

func (c valuesOf) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}
