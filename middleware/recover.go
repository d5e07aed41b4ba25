package middleware

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Recover makes a panic in the chain the error of the stage that ran, a
// *pipeline.PanicError in a *pipeline.StageError, for the middleware around it: [Retry]
// tries again, a span ends with it. Without Recover the engine does the same further
// out, and middleware in between is passed by. It should be the innermost.
func Recover() pipeline.Option {
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = pipeline.Recovered(ctx, v)
				}
			}()
			return next(ctx, r)
		}
	})
}
