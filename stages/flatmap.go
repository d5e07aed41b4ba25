package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// FlatMap turns each value into any number of others, which go on in the slice's
// order with the record's key, headers and timestamp. None drops the record. If
// one of them fails further down, none of them leaves.
//
// The slice may be used again by the function's next call in the same partition;
// [FlatMapEmit] needs none.
func FlatMap[In, Out any](s pipeline.Stream[In], name string, fn func(In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return flatMapped(s, name, func(_ context.Context, r *pipeline.Record[In]) ([]Out, error) { return fn(r.Value) }, opts)
}

// FlatMapCtx is FlatMap for a function that waits for something.
func FlatMapCtx[In, Out any](s pipeline.Stream[In], name string, fn func(context.Context, In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return flatMapped(s, name, func(ctx context.Context, r *pipeline.Record[In]) ([]Out, error) { return fn(ctx, r.Value) }, opts)
}

func flatMapped[In, Out any](s pipeline.Stream[In], name string, fn func(context.Context, *pipeline.Record[In]) ([]Out, error), opts []pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, "flatmap", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		run := pipeline.Guard(sc, fn)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			values, err := run(ctx, r)
			if err != nil {
				return err
			}
			if len(values) == 0 {
				sc.Drop()
			}
			for _, v := range values {
				copyHead(scratch, r)
				scratch.Value = v
				if err := next(ctx, scratch); err != nil {
					return err
				}
			}
			return nil
		}
	}, opts...)
}

// FlatMapRecord is FlatMap of whole records, which go on as the function returns
// them: see [MapRecord].
func FlatMapRecord[In, Out any](s pipeline.Stream[In], name string, fn func(context.Context, *pipeline.Record[In]) ([]pipeline.Record[Out], error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, "flatmap", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		run := pipeline.Guard(sc, fn)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			records, err := run(ctx, r)
			if err != nil {
				return err
			}
			if len(records) == 0 {
				sc.Drop()
			}
			for i := range records {
				*scratch = records[i]
				scratch.Origin = r.Origin
				if err := next(ctx, scratch); err != nil {
					return err
				}
			}
			return nil
		}
	}, opts...)
}

// FlatMapEmit is FlatMap without a slice: the function calls emit for each value.
// They go on once it has returned nil, so that it can be run again when it fails
// and what it emitted until then counts for nothing.
//
// Emit belongs to the call: using it after the function has returned panics, and
// it is not safe for concurrent use. Nothing is allocated once the stage has seen
// its largest records.
func FlatMapEmit[In, Out any](s pipeline.Stream[In], name string, fn func(in In, emit func(Out)) error, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return FlatMapEmitCtx(s, name, func(_ context.Context, in In, emit func(Out)) error { return fn(in, emit) }, opts...)
}

// FlatMapEmitCtx is FlatMapEmit for a function that waits for something.
func FlatMapEmitCtx[In, Out any](s pipeline.Stream[In], name string, fn func(ctx context.Context, in In, emit func(Out)) error, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return pipeline.Apply(s, "flatmap", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		scratch := new(pipeline.Record[Out])
		var c collector[Out]
		emit := c.emit
		run := pipeline.Guard(sc, func(ctx context.Context, r *pipeline.Record[In]) (struct{}, error) {
			c.open()
			defer c.close()
			return struct{}{}, fn(ctx, r.Value, emit)
		})
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			if _, err := run(ctx, r); err != nil {
				return err
			}
			if len(c.values) == 0 {
				sc.Drop()
			}
			for _, v := range c.values {
				copyHead(scratch, r)
				scratch.Value = v
				if err := next(ctx, scratch); err != nil {
					return err
				}
			}
			return nil
		}
	}, opts...)
}

// collector holds what one call has emitted.
type collector[T any] struct {
	values    []T
	accepting bool
}

// keepEmitted bounds the slice that is kept for the next record, in elements, so
// that one huge record does not hold its memory for ever.
const keepEmitted = 1024

func (c *collector[T]) open() {
	clear(c.values) // lets go of what the values refer to
	if cap(c.values) > keepEmitted {
		c.values = nil
	}
	c.values, c.accepting = c.values[:0], true
}

func (c *collector[T]) close() { c.accepting = false }

func (c *collector[T]) emit(v T) {
	if !c.accepting {
		panic("stages: emit was called after the function had returned")
	}
	c.values = append(c.values, v)
}
