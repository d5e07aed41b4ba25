package middleware

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// Retry runs a record's whole chain again when it fails, at most n more times with the
// backoff between, and then lets the failing stage's policy decide. What a failed try
// has put out is dropped. The partition's records before this one are committed while
// it waits, and a stop does not wait for it.
//
// Errors marked with pipeline.Fatal are not tried again; nor are those marked with
// pipeline.Retriable, for which the engine tries without limit; nor a record whose
// context has ended. A panic is, with [Recover] inside. Stages that keep state see the
// record once for each try: give them pipeline.Retry as their own policy instead.
func Retry(n int, b pipeline.Backoff) pipeline.Option {
	if n < 0 || b.Initial < 0 || b.Max < 0 {
		return pipeline.Invalid(fmt.Errorf("middleware.Retry: %d times with the backoff %+v; nothing may be negative", n, b))
	}
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			err := next(ctx, r)
			for try := 0; try < n && mayPass(ctx, err); try++ {
				if stopped := pipeline.Pause(ctx, b.Wait(try)); ctx.Err() != nil {
					return err // a Timeout outside: the stage's error and policy stand
				} else if stopped != nil {
					return stopped
				}
				err = next(ctx, r)
			}
			return err
		}
	})
}

func mayPass(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !pipeline.IsFatal(err) && !pipeline.IsRetriable(err)
}
