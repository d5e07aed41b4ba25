package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Split sends each record into one of two branches: into yes if is returns true
// for its value, else into no. Both must be used.
//
// Using a stream twice is the other branch, where every record goes both ways.
func Split[T any](s pipeline.Stream[T], name string, is func(T) bool, opts ...pipeline.StageOption) (yes, no pipeline.Stream[T]) {
	return pipeline.Apply2(s, "split", name, func(sc *pipeline.StageContext, yes, no pipeline.Next[T]) pipeline.Next[T] {
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			if is(r.Value) {
				return yes(ctx, r)
			}
			return no(ctx, r)
		}
	}, opts...)
}

// SplitCtx is Split for a function that waits for something or may fail.
func SplitCtx[T any](s pipeline.Stream[T], name string, is func(context.Context, T) (bool, error), opts ...pipeline.StageOption) (yes, no pipeline.Stream[T]) {
	return SplitRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) (bool, error) { return is(ctx, r.Value) }, opts...)
}

// SplitRecord is Split by the whole record.
func SplitRecord[T any](s pipeline.Stream[T], name string, is func(context.Context, *pipeline.Record[T]) (bool, error), opts ...pipeline.StageOption) (yes, no pipeline.Stream[T]) {
	return pipeline.Apply2(s, "split", name, func(sc *pipeline.StageContext, yes, no pipeline.Next[T]) pipeline.Next[T] {
		run := pipeline.Guard(sc, is)
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			ok, err := run(ctx, r)
			switch {
			case err != nil:
				return err
			case ok:
				return yes(ctx, r)
			default:
				return no(ctx, r)
			}
		}
	}, opts...)
}
