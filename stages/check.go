package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Check passes on every record for which valid returns nil. An error rejects the
// record: it is the record's error, and the stage's policy decides whether that
// fails the pipeline, makes a dead letter or skips the record.
//
// The error's text becomes a header of the dead letter and goes into logs, so it
// should say what is wrong without quoting the value.
func Check[T any](s pipeline.Stream[T], name string, valid func(T) error, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "check", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		retry := again(sc, func(v T) (struct{}, error) { return struct{}{}, valid(v) })
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			if err := valid(r.Value); err != nil {
				if _, err = retry(ctx, r, err); err != nil {
					return err
				}
			}
			return next(ctx, r)
		}
	}, oneToOne(opts)...)
}

// CheckCtx is Check for a function that waits for something.
func CheckCtx[T any](s pipeline.Stream[T], name string, valid func(context.Context, T) error, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return CheckRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) error { return valid(ctx, r.Value) }, opts...)
}

// CheckRecord is Check of the whole record.
func CheckRecord[T any](s pipeline.Stream[T], name string, valid func(context.Context, *pipeline.Record[T]) error, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "check", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		run := pipeline.Guard(sc, func(ctx context.Context, r *pipeline.Record[T]) (struct{}, error) {
			return struct{}{}, valid(ctx, r)
		})
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			if _, err := run(ctx, r); err != nil {
				return err
			}
			return next(ctx, r)
		}
	}, oneToOne(opts)...)
}
