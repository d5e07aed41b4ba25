package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// failed is failedLocked for an error in the transaction of an epoch. If that one
// has been aborted since, because of another partition's, the next one is not to
// suffer for it.
func (w *Worker) failed(op string, err error, epoch uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoch != epoch && !IsFatal(err) {
		w.reject(err)
		return
	}
	w.failedLocked(op, err)
}

// failedLocked decides what follows an error of the sink: replay from memory
// after a definite abort, a new producer and session when the outcome is unknown,
// or the end.
func (w *Worker) failedLocked(op string, err error) {
	if w.over {
		return
	}
	w.reject(err)
	stopping := w.stopCtx.Err() != nil // then there will be no replay in this run
	switch {
	case stopping && errors.Is(err, ErrRebalanced): // nobody needs to do anything
		w.log.Warn("stopped without the last commit, for the group has rebalanced; its input is processed again by whoever has it now", "error", err)
	case stopping:
		w.fail(fmt.Errorf("pipeline %q: stopped without its last commit, whose input is processed again at the next start: %s: %w", w.p.name, op, err))
	}
	switch v := verdictOf(err); {
	case IsFatal(err):
		w.endSession("", op)
		w.needInit = w.tx != nil
		w.fail(fmt.Errorf("pipeline %q: %s: %w", w.p.name, op, err))
	case v == Abortable && w.tx != nil && w.hard.Err() == nil:
		if !stopping {
			w.log.Warn("transaction aborted, replaying its input", "op", op, "error", err)
		}
		w.abortLocked(op, err)
	default:
		w.log.Warn("outcome unknown, starting a new session", "op", op, "error", err)
		if v == Fenced {
			w.countFence(err)
		}
		w.endSession("", op)
		w.needInit = w.tx != nil
	}
}

// abortLocked aborts the open transaction and has its input replayed.
func (w *Worker) abortLocked(op string, cause error) {
	w.cfg.stats.aborts.Add(1)
	if w.committing.IsZero() {
		w.committing = time.Now()
	}
	if w.inTxn {
		if err := w.tx.Abort(w.hard); err != nil {
			if IsFatal(err) {
				w.fail(fmt.Errorf("pipeline %q: abort: %w", w.p.name, err))
			}
			w.log.Warn("abort failed, starting a new session", "error", err)
			w.endSession("", reasonOf(op, cause))
			w.needInit = true
			return
		}
	}
	w.ended(Aborted, reasonOf(op, cause))
	w.spoilt.Store(nil)
	w.streak++
	w.epoch++
	for _, c := range w.claims {
		c.dirty, c.handed = false, 0
		c.notify()
	}
}

// reasonOf is what failed, in one of few words.
func reasonOf(op string, err error) string {
	if se, ok := errors.AsType[*SinkError](err); ok {
		if len(se.Rejected) > 0 {
			return "rejected"
		}
		return se.Op
	}
	return op
}

// endSession closes the session for commits and halts its claims. What they have
// not committed is read again in the next session. reason is that of a transaction
// that is open.
func (w *Worker) endSession(why, reason string) {
	if w.over {
		return
	}
	if why != "" {
		w.log.Warn("session ended", "reason", why)
	}
	w.over = true
	close(w.sessionOver)
	w.spoilt.Store(nil)
	w.cfg.stats.phase.CompareAndSwap(int32(PhaseRunning), int32(PhaseJoining))
	if w.inTxn || w.pendingSince.Load() != 0 {
		w.ended(OutcomeUnknown, reason)
	}
	for _, c := range w.claims {
		c.dirty, c.handed = false, 0
		c.halt()
	}
}

// A fenced producer is initialised again, which fences the other in turn: two
// workers that share an instance name would do so for ever.
const (
	maxFences   = 5
	fenceWindow = 10 * time.Minute
)

func (w *Worker) countFence(err error) {
	if limit := w.cfg.limits.Transaction; w.inTxn && limit > 0 && time.Since(w.txnBegan) >= limit {
		return // the coordinator timed our transaction out; nobody else has the id
	}
	now := time.Now()
	w.fenced = slices.DeleteFunc(append(w.fenced, now), func(t time.Time) bool { return now.Sub(t) > fenceWindow })
	if len(w.fenced) > maxFences {
		w.fail(fmt.Errorf("pipeline %q: fenced %d times within %v: another worker runs under the same instance name; give each its own: %w",
			w.p.name, len(w.fenced), fenceWindow, err))
	}
}

func (w *Worker) aborted(c *Claim) bool {
	c.engaged.Add(1)
	defer c.engaged.Add(-1)
	w.mu.RLock()
	defer w.mu.RUnlock()
	return c.epoch != w.epoch && !w.over && !c.gone
}

// rewound lets a claim replay, after a pause that grows with each abort in a row.
func (w *Worker) rewound(c *Claim) error {
	c.engaged.Add(1)
	defer c.engaged.Add(-1)
	w.mu.Lock()
	c.epoch, c.groups = w.epoch, nil
	streak, gone := w.streak, c.gone || w.over
	w.mu.Unlock()
	if gone {
		return errStopped
	}
	if streak > 1 {
		select {
		case <-time.After(Backoff{}.Wait(streak - 2)):
		case <-c.stop:
			return errStopped
		}
	}
	return nil
}
