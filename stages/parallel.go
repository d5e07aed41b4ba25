package stages

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Parallel is [Map] on n goroutines for each partition, for functions that keep a core
// busy: use it if there are fewer partitions than cores. 0 means GOMAXPROCS. Values whose
// records have the same key are given to one goroutine, in their order; those without a
// key go round. The results go on in the order of the input.
//
// Up to 16 records for each goroutine are under way; a commit waits for them. An error,
// or a panic, is the record's, and while [pipeline.Retry] has the function wait, the
// records of the same goroutine wait. It costs some 1 µs and 2 allocations a record: a
// function that takes less is faster in Map.
func Parallel[In, Out any](s pipeline.Stream[In], name string, n int, fn func(In) (Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return parallel(s, name, n, func(_ context.Context, in In) (Out, error) { return fn(in) }, opts)
}

// ParallelCtx is Parallel for a function that takes a context, which ends when the
// partition is given up or the record will be replayed, and after [pipeline.Timeout].
func ParallelCtx[In, Out any](s pipeline.Stream[In], name string, n int, fn func(context.Context, In) (Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return parallel(s, name, n, fn, opts)
}

// laneDepth is how many records a goroutine has before it and behind it, so that it need
// not wait for the others.
const laneDepth = 16

func parallel[In, Out any](s pipeline.Stream[In], name string, n int, fn func(context.Context, In) (Out, error), opts []pipeline.StageOption) pipeline.Stream[Out] {
	opts = oneToOne(opts)
	if n < 0 {
		opts = append(opts, pipeline.Invalid(fmt.Errorf("Parallel on %d goroutines; use 0, for GOMAXPROCS, or more", n)))
	}
	return pipeline.Apply(s, "parallel", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		lanes := make([]lane[In, Out], n)
		if n == 0 {
			lanes = make([]lane[In, Out], runtime.GOMAXPROCS(0))
		}
		w := newWindow(sc, next, laneDepth*len(lanes), valued(func(_ In, out Out, _ bool) Out { return out }))
		for i := range lanes {
			lanes[i].owner, lanes[i].run = &w.owned, called(sc, fn)
		}
		seed, round := maphash.MakeSeed(), uint64(0)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			sc.Enter()
			c, err := w.add(ctx, r)
			if err != nil {
				return err
			}
			at := round
			if r.Key != nil {
				at = maphash.Bytes(seed, r.Key)
			} else {
				round++
			}
			lanes[at%uint64(len(lanes))].add(c)
			return nil
		}
	}, opts...)
}

// called returns what makes a call of a function.
func called[In, Out any](sc *pipeline.StageContext, fn func(context.Context, In) (Out, error)) func(*call[In, Out]) {
	return func(c *call[In, Out]) {
		defer c.finish()
		c.err = errGoexit // unless it returns
		c.err = sc.Try(c.ctx, func(ctx context.Context) (err error) {
			ctx, cancel := limited(ctx, sc.Timeout())
			defer cancel()
			c.value, err = fn(ctx, c.record.Value)
			return err
		})
	}
}

var errGoexit = error(new(pipeline.PanicError))

// limited is context.WithTimeout, if there is one.
func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// lane makes calls one after the other. It has a goroutine while there are any.
type lane[In, Out any] struct {
	owner *sync.WaitGroup
	run   func(*call[In, Out])

	mu    sync.Mutex
	calls []*call[In, Out]
	busy  bool
}

func (l *lane[In, Out]) add(c *call[In, Out]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	if !l.busy {
		l.busy = true
		l.owner.Go(l.work)
	}
}

func (l *lane[In, Out]) work() {
	idle := false
	defer func() {
		if !idle { // the function has ended the goroutine
			l.owner.Go(l.work)
		}
	}()
	for {
		c := l.take()
		if c == nil {
			idle = true
			return
		}
		l.run(c)
	}
}

func (l *lane[In, Out]) take() *call[In, Out] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 {
		l.busy = false
		return nil
	}
	c := l.calls[0]
	l.calls = append(l.calls[:0], l.calls[1:]...)
	return c
}
