package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Map turns each value into another. Key, headers and timestamp stay.
func Map[In, Out any](s pipeline.Stream[In], name string, fn func(In) (Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, "map", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		retry := again(sc, fn)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			sc.Enter()
			v, err := fn(r.Value)
			if err != nil {
				if v, err = retry(ctx, r, err); err != nil {
					return err
				}
			}
			copyHead(scratch, r)
			scratch.Value = v
			return next(ctx, scratch)
		}
	}, oneToOne(opts)...)
}

// MapCtx is Map for a function that waits for something.
func MapCtx[In, Out any](s pipeline.Stream[In], name string, fn func(context.Context, In) (Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapKind(s, "map", name, func(ctx context.Context, r *pipeline.Record[In]) (Out, error) { return fn(ctx, r.Value) }, opts)
}

// mapKind is what Map and Enrich have in common.
func mapKind[In, Out any](s pipeline.Stream[In], kind, name string, fn func(context.Context, *pipeline.Record[In]) (Out, error), opts []pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, kind, name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		run := pipeline.Guard(sc, fn)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			v, err := run(ctx, r)
			if err != nil {
				return err
			}
			copyHead(scratch, r)
			scratch.Value = v
			return next(ctx, scratch)
		}
	}, oneToOne(opts)...)
}

// MapRecord turns each record into another. What the function returns goes on as
// it is, so that it may change the key, the headers and the timestamp; begin with
// [pipeline.With], which keeps them all:
//
//	func(ctx context.Context, r *pipeline.Record[Order]) (pipeline.Record[Event], error) {
//		out := pipeline.With(r, r.Value.Event())
//		out.Headers = out.Headers.Set("type", []byte("order"))
//		return out, nil
//	}
//
// The origin is always the input record's, whatever the function returns.
func MapRecord[In, Out any](s pipeline.Stream[In], name string, fn func(context.Context, *pipeline.Record[In]) (pipeline.Record[Out], error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapRecordKind(s, "map", name, fn, opts)
}

func mapRecordKind[In, Out any](s pipeline.Stream[In], kind, name string, fn func(context.Context, *pipeline.Record[In]) (pipeline.Record[Out], error), opts []pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, kind, name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		run := pipeline.Guard(sc, fn)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			out, err := run(ctx, r)
			if err != nil {
				return err
			}
			*scratch = out
			scratch.Origin = r.Origin
			return next(ctx, scratch)
		}
	}, oneToOne(opts)...)
}

// oneToOne adds to the options of a stage that it passes on what it does not fail.
func oneToOne(opts []pipeline.StageOption) []pipeline.StageOption {
	return append(opts[:len(opts):len(opts)], pipeline.OneToOne())
}

// copyHead is pipeline.With into memory that is there already, field by field:
// assigning a whole record costs twice as much, a copy on the stack and a bulk
// write barrier.
func copyHead[In, Out any](dst *pipeline.Record[Out], src *pipeline.Record[In]) {
	dst.Key, dst.Headers, dst.Timestamp, dst.Origin = src.Key, src.Headers, src.Timestamp, src.Origin
}
