package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pending bounds the records between a send and the end of the wait for its outcome.
type pending struct {
	limit   int64
	n       atomic.Int64
	waiting atomic.Int32
	onWait  func() // called when somebody begins to wait; may be nil

	mu      sync.Mutex
	changed chan struct{} // closed when there may be room
}

func newPending(limit int64) *pending { return &pending{limit: limit, changed: make(chan struct{})} }

func (q *pending) try(limit int64) bool {
	for {
		n := q.n.Load()
		if n >= limit {
			return false
		}
		if q.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// take waits for room. A callback does not: room may come only after its own end.
func (q *pending) take(ctx context.Context, wait time.Duration) error {
	if q.try(q.limit) {
		return nil
	}
	if inCallback() {
		if !q.try(2 * q.limit) {
			return ErrBufferFull
		}
		return nil
	}
	if wait <= 0 {
		return ErrBufferFull
	}
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	if q.onWait != nil {
		q.onWait()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		q.mu.Lock()
		changed := q.changed
		q.mu.Unlock()
		if q.try(q.limit) { // after the look at changed, or a change could be missed
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return ErrBufferFull
		}
	}
}

func (q *pending) give() {
	q.n.Add(-1)
	if q.waiting.Load() > 0 {
		q.mu.Lock()
		close(q.changed)
		q.changed = make(chan struct{})
		q.mu.Unlock()
	}
}
