package pipeline

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"
)

// A stage may call user code on goroutines of its own, and hold the records until they
// have returned. Try, Wait, GivenUp and Timeout are for them: these, and no other methods of
// StageContext, may be called from any goroutine, several at once. The stage waits for
// its goroutines in Aborted and Revoked.

// Try is [Guard] for goroutines that the stage has started: f runs again as the stage's
// policy says. What it returns is not the stage's error yet: give it to [StageContext.Fail]
// in [StageContext.Resume]. A panic of f is a [PanicError]; nothing is tried again after
// one, and nothing after ctx has ended. The stage's Timeout is up to f.
func (sc *StageContext) Try(ctx context.Context, f func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for n := (attempts{}); ; {
		err, panicked := sheltered(ctx, f)
		if err == nil || panicked || ctx.Err() != nil {
			return err
		}
		wait, ok := n.next(sc.node.policy(), err)
		if !ok {
			return err
		}
		if waited := sc.waitAside(ctx, wait, err); waited == errInterrupted {
			return waited
		} else if waited != nil {
			return err
		}
	}
}

// Wait returns when d is over. It returns an error as soon as ctx ends or the partition is
// given up; the record that waits must be failed with it.
func (sc *StageContext) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-sc.task.stop:
		return errInterrupted
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// GivenUp is closed when the partition is given up. A stage that waits for something else
// than time gives its record up then, with the error that [StageContext.Wait] returns at
// once; else the partition is held up until the context ends.
func (sc *StageContext) GivenUp() <-chan struct{} { return sc.task.stop }

// Timeout is the stage's, 0 if it has none.
func (sc *StageContext) Timeout() time.Duration { return sc.node.cfg.timeout }

func sheltered(ctx context.Context, f func(context.Context) error) (err error, panicked bool) {
	panicked = true
	defer func() {
		if panicked {
			err = &PanicError{Value: recover(), Stack: debug.Stack()}
		}
	}()
	err = f(ctx)
	return err, false
}

// aside counts the goroutines of stages that wait, since a partition waits once only.
type aside struct {
	onWait  func(ctx context.Context, stage string, err error)
	onRetry func(stage string)

	mu    sync.Mutex
	waits int
}

func (sc *StageContext) waitAside(ctx context.Context, d time.Duration, err error) error {
	sc.task.aside.begin(ctx, sc.node.name, passing(err))
	defer sc.task.asideWaited()
	return sc.Wait(ctx, d)
}

func (a *aside) begin(ctx context.Context, stage string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits++
	switch {
	case a.onWait == nil: // not in an engine
	case a.waits == 1:
		a.onWait(ctx, stage, err)
	default:
		a.onRetry(stage)
	}
}

func (t *Task) asideWaited() {
	t.aside.mu.Lock()
	defer t.aside.mu.Unlock()
	if t.aside.waits--; t.aside.waits == 0 {
		t.waited()
	}
}

// IsInterrupted reports whether err says that a record was given up because its partition
// is: it comes again, and nothing is wrong with it.
func IsInterrupted(err error) bool { return errors.Is(err, errInterrupted) }
