package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Filter passes on the records whose value keep is true for and drops the others.
// Dropping is success: the record counts as processed.
func Filter[T any](s pipeline.Stream[T], name string, keep func(T) bool, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "filter", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			if !keep(r.Value) {
				sc.Drop()
				return nil
			}
			return next(ctx, r)
		}
	}, opts...)
}

// FilterCtx is Filter for a function that waits for something or may fail.
func FilterCtx[T any](s pipeline.Stream[T], name string, keep func(context.Context, T) (bool, error), opts ...pipeline.StageOption) pipeline.Stream[T] {
	return FilterRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) (bool, error) { return keep(ctx, r.Value) }, opts...)
}

// FilterRecord is Filter by the whole record.
func FilterRecord[T any](s pipeline.Stream[T], name string, keep func(context.Context, *pipeline.Record[T]) (bool, error), opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "filter", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		run := pipeline.Guard(sc, keep)
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			ok, err := run(ctx, r)
			if err != nil {
				return err
			}
			if !ok {
				sc.Drop()
				return nil
			}
			return next(ctx, r)
		}
	}, opts...)
}
