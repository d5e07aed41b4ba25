package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// again returns what to do when fn has failed with an error: what Guard would have
// done had it called fn itself. The stages of functions without a context, which
// no Timeout concerns, call fn themselves and come here only after an error; it
// saves two indirect calls, a fifth of a trivial stage.
func again[In, Out any](sc *pipeline.StageContext, fn func(In) (Out, error)) func(context.Context, *pipeline.Record[In], error) (Out, error) {
	var first error // what Guard's first call returns
	run := pipeline.Guard(sc, func(_ context.Context, r *pipeline.Record[In]) (out Out, err error) {
		if err, first = first, nil; err != nil {
			return out, err
		}
		return fn(r.Value)
	})
	return func(ctx context.Context, r *pipeline.Record[In], err error) (Out, error) {
		first = err
		return run(ctx, r)
	}
}
