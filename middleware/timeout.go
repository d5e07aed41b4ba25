package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// ErrTimeout is what the error of a record wraps whose chain took too long. It wraps
// context.DeadlineExceeded.
var ErrTimeout = fmt.Errorf("the chain took too long: %w", context.DeadlineExceeded)

// Timeout gives each run of a record's chain a context that ends after d, with
// [ErrTimeout] as its cause. It ends nothing by force: it returns when the chain does,
// since user code that still ran would share the task's memory with the next record. So
// a stage must heed its context; what engine and stages wait for by themselves (backoffs,
// registries) does. A chain that succeeds although time is up has succeeded.
//
// The context costs some allocations for each record.
func Timeout(d time.Duration) pipeline.Option {
	if d <= 0 {
		return pipeline.Invalid(fmt.Errorf("middleware.Timeout: %v; a time-out must be positive", d))
	}
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			timed, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			err := next(timed, r)
			if err == nil || context.Cause(timed) != ErrTimeout || errors.Is(err, ErrTimeout) {
				return err
			}
			if stage, ok := err.(*pipeline.StageError); ok {
				late := *stage // the stage and its policy stay
				late.Err = fmt.Errorf("%w after %v: %w", ErrTimeout, d, stage.Err)
				return &late
			}
			return fmt.Errorf("%w after %v: %w", ErrTimeout, d, err)
		}
	})
}
