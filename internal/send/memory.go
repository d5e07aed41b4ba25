package send

import (
	"context"
	"sync"
	"time"
)

// memory is the buffer's bound in bytes. Waiters are served in the order in which
// they came, so that a large record is not passed by small ones for ever.
type memory struct {
	mu      sync.Mutex
	total   int64
	free    int64
	waiters []*waiter
	closed  bool
	low     bool   // since when onLow was called
	onLow   func() // may be nil
	onWait  func() // called when somebody begins to wait; may be nil
}

type waiter struct {
	want  int64
	ready chan struct{} // closed when it has its bytes, or the buffer is closed
	given bool
}

func newMemory(total int64) *memory { return &memory{total: total, free: total} }

// take waits for n bytes, at most for maxBlock and until ctx ends.
func (m *memory) take(ctx context.Context, n int64, maxBlock time.Duration) error {
	m.mu.Lock()
	switch {
	case m.closed:
		m.mu.Unlock()
		return ErrClosed
	case n > m.total:
		m.mu.Unlock()
		return ErrTooLarge
	case len(m.waiters) == 0 && m.free >= n:
		m.free -= n
		m.watch()
		m.mu.Unlock()
		return nil
	case maxBlock == 0:
		m.mu.Unlock()
		return ErrBufferFull
	}
	w := &waiter{want: n, ready: make(chan struct{})}
	m.waiters = append(m.waiters, w)
	m.mu.Unlock()
	if m.onWait != nil {
		m.onWait()
	}

	timer := time.NewTimer(maxBlock)
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = ErrBufferFull
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case w.given && err == nil:
		return nil
	case w.given: // it came in the same moment
		m.giveLocked(n)
		return err
	case err == nil:
		return ErrClosed
	}
	for i, x := range m.waiters {
		if x == w {
			m.waiters = append(m.waiters[:i], m.waiters[i+1:]...)
			break
		}
	}
	m.serveLocked()
	return err
}

// give returns bytes.
func (m *memory) give(n int64) {
	m.mu.Lock()
	m.giveLocked(n)
	m.mu.Unlock()
}

func (m *memory) giveLocked(n int64) {
	m.free += n
	m.serveLocked()
	m.watch()
}

// watch tells of the buffer running low, once until it has recovered.
func (m *memory) watch() {
	switch {
	case m.free < m.total/5:
		if !m.low && m.onLow != nil {
			m.onLow()
		}
		m.low = true
	case m.free >= m.total/5*2:
		m.low = false
	}
}

func (m *memory) serveLocked() {
	for len(m.waiters) > 0 && m.free >= m.waiters[0].want {
		w := m.waiters[0]
		m.waiters = m.waiters[1:]
		m.free -= w.want
		w.given = true
		close(w.ready)
	}
}

// over counts bytes that are already in use: a batch that was split.
func (m *memory) over(n int64) {
	m.mu.Lock()
	m.free -= n
	m.mu.Unlock()
}

func (m *memory) available() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, m.free)
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, w := range m.waiters {
		close(w.ready)
	}
	m.waiters = nil
}

// waiting reports whether a caller waits for room.
func (m *memory) waiting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiters) > 0
}
