package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Branch sends each record into one of n streams: the one whose number, from 0, to
// returns for its value. Another number is the record's error. All must be used.
func Branch[T any](s pipeline.Stream[T], name string, n int, to func(T) int, opts ...pipeline.StageOption) []pipeline.Stream[T] {
	return pipeline.ApplyN(s, "branch", name, n, func(sc *pipeline.StageContext, out []pipeline.Next[T]) pipeline.Next[T] {
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			i := to(r.Value)
			if i < 0 || i >= len(out) {
				return noBranch(sc, i, len(out))
			}
			return out[i](ctx, r)
		}
	}, opts...)
}

// BranchCtx is Branch for a function that waits for something or may fail.
func BranchCtx[T any](s pipeline.Stream[T], name string, n int, to func(context.Context, T) (int, error), opts ...pipeline.StageOption) []pipeline.Stream[T] {
	return BranchRecord(s, name, n, func(ctx context.Context, r *pipeline.Record[T]) (int, error) { return to(ctx, r.Value) }, opts...)
}

// BranchRecord is Branch by the whole record.
func BranchRecord[T any](s pipeline.Stream[T], name string, n int, to func(context.Context, *pipeline.Record[T]) (int, error), opts ...pipeline.StageOption) []pipeline.Stream[T] {
	return pipeline.ApplyN(s, "branch", name, n, func(sc *pipeline.StageContext, out []pipeline.Next[T]) pipeline.Next[T] {
		run := pipeline.Guard(sc, to)
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			i, err := run(ctx, r)
			if err != nil {
				return err
			}
			if i < 0 || i >= len(out) {
				return noBranch(sc, i, len(out))
			}
			return out[i](ctx, r)
		}
	}, opts...)
}

func noBranch(sc *pipeline.StageContext, i, n int) error {
	return sc.Failf("there is no branch %d, they are 0 to %d", i, n-1)
}
