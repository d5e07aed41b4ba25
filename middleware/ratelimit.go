package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/pace"
	"github.com/leat-stream/leat/pipeline"
)

// RateLimit lets perSecond records a second into the chain, of all partitions that this
// process runs together, and after a quiet time as many as burst at once. Replayed
// records count, too. A record that waits keeps nothing else waiting: those before it
// are committed, and a stop does not wait for it. Its place in the line is lost if it
// is given up. A record that need not wait costs a lock and a look at the clock.
func RateLimit(perSecond float64, burst int) pipeline.Option {
	l, err := pace.NewLimiter(perSecond, burst)
	if err != nil {
		return pipeline.Invalid(fmt.Errorf("middleware.RateLimit: %v records a second, %d at once; %w", perSecond, burst, err))
	}
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if d := l.Reserve(time.Now()); d > 0 {
				if err := pipeline.Pause(ctx, d); err != nil {
					return err
				}
			}
			return next(ctx, r)
		}
	})
}
