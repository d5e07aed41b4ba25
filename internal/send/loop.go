package send

import (
	"sync"
	"time"
)

// loop is the goroutine that owns the machine. Everybody else posts functions to
// it, which run one after another.
type loop struct {
	m    *machine
	wake chan struct{}
	gone chan struct{} // closed when the goroutine has returned

	mu     sync.Mutex
	posted []func(now time.Time)
	closed bool
}

func newLoop() *loop { return &loop{wake: make(chan struct{}, 1), gone: make(chan struct{})} }

// poke makes the loop look.
func (l *loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// post has f called on the loop. After the end it reports false.
func (l *loop) post(f func(now time.Time)) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	l.poke()
	return true
}

// run is the goroutine. It ends when stop says so after a step.
func (l *loop) run(stop func() bool) {
	defer close(l.gone)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.mu.Lock()
		posted := l.posted
		l.posted = nil
		l.mu.Unlock()
		now := time.Now()
		for _, f := range posted {
			f(now)
		}
		l.m.overdue(now)
		next := l.m.step(now)
		if stop() {
			break
		}
		if !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-l.wake:
		case <-timer.C:
		}
	}
	l.mu.Lock()
	l.closed = true
	left := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range left {
		f(time.Now())
	}
}
