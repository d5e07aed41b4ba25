package pipeline

import (
	"context"
	"runtime/debug"
	"time"
)

type taskKey struct{}

// withTask lets middleware find the task that runs it. It is done once for each
// claim: nothing is allocated for a record.
func withTask(ctx context.Context, t *Task) context.Context {
	return context.WithValue(ctx, taskKey{}, t)
}

// Pause waits for d on behalf of a middleware: call it from the handler, with the
// context that the handler was given or one made from it. Unlike a sleep it keeps
// nothing else waiting: the records before this one are committed meanwhile, and
// Snapshot.Waiting counts the partition. It returns an error as soon as the context
// ends or the partition is given up; the middleware must return that error.
func Pause(ctx context.Context, d time.Duration) error {
	if t, ok := ctx.Value(taskKey{}).(*Task); ok {
		return t.pauseFor(ctx, d, nil)
	}
	return (&Task{}).pauseFor(ctx, d, nil) // the handler is called by a test
}

func (t *Task) pauseFor(ctx context.Context, d time.Duration, err error) error {
	t.wait(ctx, "middleware", err)
	defer t.waited()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.stop:
		return errInterrupted
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Recovered returns the error of a panic that a middleware has recovered, as the
// engine would have made it: of the stage that ran, under that stage's policy. ctx
// is the handler's, v what recover returned. Call it in the deferred function, so
// that the stack is the panic's.
func Recovered(ctx context.Context, v any) error {
	pe := &PanicError{Value: v, Stack: debug.Stack()}
	t, ok := ctx.Value(taskKey{}).(*Task)
	if !ok {
		return pe
	}
	err := t.panicked(t.current.Origin, pe)
	t.running = -1
	return err
}
