package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Peek calls see for every record on its way past: to count, to sample, to log.
// What may fail or must not happen in vain belongs into a [Check].
//
// The record's fate is not known yet, and a replay shows it again.
func Peek[T any](s pipeline.Stream[T], name string, see func(T), opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "peek", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			see(r.Value)
			return next(ctx, r)
		}
	}, oneToOne(opts)...)
}

// PeekCtx is Peek for a function that needs the context, such as one that adds to
// a trace.
func PeekCtx[T any](s pipeline.Stream[T], name string, see func(context.Context, T), opts ...pipeline.StageOption) pipeline.Stream[T] {
	return PeekRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) { see(ctx, r.Value) }, opts...)
}

// PeekRecord is Peek at the whole record.
func PeekRecord[T any](s pipeline.Stream[T], name string, see func(context.Context, *pipeline.Record[T]), opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "peek", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		run := pipeline.Guard(sc, func(ctx context.Context, r *pipeline.Record[T]) (struct{}, error) {
			see(ctx, r)
			return struct{}{}, nil
		})
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			if _, err := run(ctx, r); err != nil {
				return err
			}
			return next(ctx, r)
		}
	}, oneToOne(opts)...)
}
