package middleware

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// RateLimit lets perSecond records a second into the chain, of all partitions that this
// process runs together, and after a quiet time as many as burst at once. Replayed
// records count, too. A record that waits keeps nothing else waiting: those before it
// are committed, and a stop does not wait for it. Its place in the line is lost if it
// is given up. A record that need not wait costs a lock and a look at the clock.
func RateLimit(perSecond float64, burst int) pipeline.Option {
	interval := math.Ceil(float64(time.Second) / perSecond)
	if !(perSecond > 0) || burst < 1 || interval*float64(burst) > float64(maxWait) {
		return pipeline.Invalid(fmt.Errorf("middleware.RateLimit: %v records a second, %d at once; use a positive rate, a burst of at least 1, and at most %v for a burst", perSecond, burst, maxWait))
	}
	l := &limiter{interval: time.Duration(interval), burst: burst}
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if d := l.reserve(time.Now()); d > 0 {
				if err := pipeline.Pause(ctx, d); err != nil {
					return err
				}
			}
			return next(ctx, r)
		}
	})
}

// maxWait bounds what the limiter calculates with.
const maxWait = 365 * 24 * time.Hour

// limiter hands out times, an interval apart; it may run ahead of an even spacing by a
// burst (the generic cell rate algorithm, ITU-T I.371).
type limiter struct {
	interval time.Duration
	burst    int

	mu   sync.Mutex
	next time.Time // when a record may go in an even spacing
}

// reserve returns how long a record has to wait.
func (l *limiter) reserve(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now) - time.Duration(l.burst-1)*l.interval
	l.next = l.next.Add(l.interval)
	return max(wait, 0)
}
