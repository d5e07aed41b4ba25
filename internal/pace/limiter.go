// Package pace spaces things out in time.
package pace

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// maxWait bounds what the limiter calculates with.
const maxWait = 365 * 24 * time.Hour

// Limiter hands out times, an interval apart; it may run ahead of an even spacing by a
// burst (the generic cell rate algorithm, ITU-T I.371).
type Limiter struct {
	interval time.Duration
	burst    int

	mu   sync.Mutex
	next time.Time // when a record may go in an even spacing
}

// NewLimiter returns a limiter for so many in a second, of which burst may come at once.
func NewLimiter(perSecond float64, burst int) (*Limiter, error) {
	interval := math.Ceil(float64(time.Second) / perSecond)
	if !(perSecond > 0) || burst < 1 || interval*float64(burst) > float64(maxWait) {
		return nil, fmt.Errorf("use a positive rate, a burst of at least 1, and at most %v for a burst", maxWait)
	}
	return &Limiter{interval: time.Duration(interval), burst: burst}, nil
}

// Reserve returns how long the next one has to wait.
func (l *Limiter) Reserve(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now) - time.Duration(l.burst-1)*l.interval
	l.next = l.next.Add(l.interval)
	return max(wait, 0)
}
