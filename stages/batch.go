package stages

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// BatchConfig bounds what [Batch] and [BatchByKey] collect. The zero value works.
type BatchConfig struct {
	// Size is how many records are collected at most. Default 500.
	Size int
	// MaxBytes bounds the keys, values and headers of what is collected, as they were
	// read from the input; a record that is larger is collected alone. Default 1 MiB.
	MaxBytes int
}

const (
	defaultBatchSize  = 500
	defaultBatchBytes = 1 << 20
)

// withDefaults returns the configuration with its defaults, and the stage's options with
// what is wrong with it.
func (c BatchConfig) withDefaults(opts []pipeline.StageOption) (BatchConfig, []pipeline.StageOption) {
	if c.Size < 0 || c.MaxBytes < 0 {
		err := fmt.Errorf("a batch of %d records and %d bytes; use at least 1, or 0 for the default", c.Size, c.MaxBytes)
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(err))
	}
	if c.Size == 0 {
		c.Size = defaultBatchSize
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultBatchBytes
	}
	return c, opts
}

// Batch gives many values at once to the function: for a service, a query or a format
// that takes them so. A batch is of one input partition, in its order, and within one
// transaction: what is there is given before a commit. When that is depends on the clock,
// so a replay may make other batches of the same records.
//
// What the function returns goes on in the slice's order with the key, headers, timestamp
// and origin of the batch's last record. If it fails, [pipeline.Retry] gives it the whole
// batch again; then the policy decides for each of the records, so that each is a dead
// letter in its own place. So it is with an error further down, or of the sink. Nothing of a batch's
// records leaves, by other branches either, before all of the batch is done. A record that
// has failed in another branch meanwhile is not in it.
//
// The function must neither change nor keep the slice; the values may be kept. It runs
// when the next record comes, or before the commit. The parts that a FlatMap makes of a
// record count as records; as bytes, each counts as the whole. A record takes some 200
// bytes more than its own in memory until the batch is done, and an allocation.
func Batch[In, Out any](s pipeline.Stream[In], name string, cfg BatchConfig, fn func([]In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return BatchCtx(s, name, cfg, func(_ context.Context, values []In) ([]Out, error) { return fn(values) }, opts...)
}

// BatchCtx is Batch for a function that waits for something.
func BatchCtx[In, Out any](s pipeline.Stream[In], name string, cfg BatchConfig, fn func(context.Context, []In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return batched(s, name, cfg, opts, func(sc *pipeline.StageContext, next pipeline.Next[Out]) batchFunc[In] {
		return ofValues(sc, next, pipeline.Guard(sc, fn))
	})
}

// BatchRecord is Batch of whole records. What the function returns goes on as it is, with
// the origin of the batch's last record: see [MapRecord].
func BatchRecord[In, Out any](s pipeline.Stream[In], name string, cfg BatchConfig, fn func(context.Context, []pipeline.Record[In]) ([]pipeline.Record[Out], error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return batched(s, name, cfg, opts, func(sc *pipeline.StageContext, next pipeline.Next[Out]) batchFunc[In] {
		return ofRecords(sc, next, pipeline.Guard(sc, fn))
	})
}

func batched[In, Out any](s pipeline.Stream[In], name string, cfg BatchConfig, opts []pipeline.StageOption, prepare func(*pipeline.StageContext, pipeline.Next[Out]) batchFunc[In]) pipeline.Stream[Out] {
	cfg, opts = cfg.withDefaults(opts)
	return pipeline.Apply(s, "batch", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		run := prepare(sc, next)
		add := collect(sc, cfg, func(ctx context.Context, held []*pipeline.Held, records []pipeline.Record[In]) error {
			n := living(held, records)
			return sc.ResumeAll(ctx, held[:n], func(ctx context.Context) error { return run(ctx, records[:n]) })
		})
		return func(ctx context.Context, r *pipeline.Record[In]) error { return add(ctx, *r) }
	}, opts...)
}

// batchFunc runs a user's function with a batch and passes on what it returns.
type batchFunc[In any] func(ctx context.Context, batch []pipeline.Record[In]) error

func ofValues[In, Out any](sc *pipeline.StageContext, next pipeline.Next[Out], run func(context.Context, []In) ([]Out, error)) batchFunc[In] {
	scratch := new(pipeline.Record[Out])
	var values []In
	return func(ctx context.Context, batch []pipeline.Record[In]) error {
		values = values[:0]
		for i := range batch {
			values = append(values, batch[i].Value)
		}
		defer func() { clear(values) }() // lets go of what they refer to
		results, err := run(ctx, values)
		if err != nil {
			return err
		}
		if len(results) == 0 {
			dropAll(sc, batch)
		}
		for _, v := range results {
			copyHead(scratch, &batch[len(batch)-1])
			scratch.Value = v
			if err := next(ctx, scratch); err != nil {
				return err
			}
		}
		return nil
	}
}

func ofRecords[In, Out any](sc *pipeline.StageContext, next pipeline.Next[Out], run func(context.Context, []pipeline.Record[In]) ([]pipeline.Record[Out], error)) batchFunc[In] {
	scratch := new(pipeline.Record[Out])
	return func(ctx context.Context, batch []pipeline.Record[In]) error {
		results, err := run(ctx, batch)
		if err != nil {
			return err
		}
		if len(results) == 0 {
			dropAll(sc, batch)
		}
		for i := range results {
			*scratch = results[i]
			scratch.Origin = batch[len(batch)-1].Origin
			if err := next(ctx, scratch); err != nil {
				return err
			}
		}
		return nil
	}
}

// dropAll says that all of a batch ends here.
func dropAll[In any](sc *pipeline.StageContext, batch []pipeline.Record[In]) {
	for range batch {
		sc.Drop()
	}
}
