package stages

import (
	"context"
	"unsafe"

	"github.com/leat-stream/leat/pipeline"
)

// KeyBy sets each record's key to what key returns for its value, encoded by
// keys. Value, headers and timestamp stay. It changes the partition that an
// output goes to, not the one in which the record is processed; [pipeline.Through]
// brings records with the same key together.
//
// A serde that derives a registry subject from the topic is given the input's
// topic, since a stage does not know where its records will end: give it a subject
// of its own if that is another one. A serde that returns nil makes the key null.
//
// Keys are appended to memory that the partition's chain allocates in chunks of 4
// KiB: far less than one allocation for each record.
func KeyBy[T, K any](s pipeline.Stream[T], name string, key func(T) K, keys pipeline.Serde[K], opts ...pipeline.StageOption) pipeline.Stream[T] {
	return KeyByRecord(s, name, func(_ context.Context, r *pipeline.Record[T]) (K, error) { return key(r.Value), nil }, keys, opts...)
}

// KeyByCtx is KeyBy for a function that waits for something or may fail.
func KeyByCtx[T, K any](s pipeline.Stream[T], name string, key func(context.Context, T) (K, error), keys pipeline.Serde[K], opts ...pipeline.StageOption) pipeline.Stream[T] {
	return KeyByRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) (K, error) { return key(ctx, r.Value) }, keys, opts...)
}

// KeyByRecord is KeyBy from the whole record.
func KeyByRecord[T, K any](s pipeline.Stream[T], name string, key func(context.Context, *pipeline.Record[T]) (K, error), keys pipeline.Serde[K], opts ...pipeline.StageOption) pipeline.Stream[T] {
	return pipeline.Apply(s, "keyby", name, func(sc *pipeline.StageContext, next pipeline.Next[T]) pipeline.Next[T] {
		topic := sc.Partition().Topic
		viewer, isViewer := keys.(pipeline.Viewer[K])
		scratch := new(pipeline.Record[T])
		var mem chunk

		run := pipeline.Guard(sc, func(ctx context.Context, r *pipeline.Record[T]) ([]byte, error) {
			k, err := key(ctx, r)
			if err != nil {
				return nil, err
			}
			if isViewer {
				return viewer.View(k), nil
			}
			*scratch = *r // here, since the serde may change the headers and may be run again
			dst := mem.open()
			enc, err := keys.Append(ctx, dst, pipeline.Slot{Topic: topic, Key: true, Headers: &scratch.Headers}, k)
			if err != nil {
				return nil, err
			}
			return mem.close(dst, enc), nil
		})
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			enc, err := run(ctx, r)
			if err != nil {
				return err
			}
			if isViewer {
				*scratch = *r
			}
			scratch.Key = enc
			return next(ctx, scratch)
		}
	}, oneToOne(opts)...)
}

// chunk hands out memory to append keys to. It is never handed out twice: outputs
// refer to it until their transaction has ended, and a user for longer.
type chunk struct{ free []byte }

const (
	chunkSize = 4 << 10
	chunkRoom = 256 // below which a new chunk is begun
)

func (c *chunk) open() []byte {
	if cap(c.free) < chunkRoom {
		c.free = make([]byte, 0, chunkSize)
	}
	return c.free[:0]
}

// close takes what a serde made of dst.
func (c *chunk) close(dst, enc []byte) []byte {
	if enc == nil {
		return nil
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(enc))) - uintptr(unsafe.Pointer(unsafe.SliceData(dst)))
	if len(enc) > 0 && start < uintptr(cap(dst)) { // in dst, or a part of it
		c.free = dst[int(start)+len(enc) : cap(dst)]
	}
	return enc[:len(enc):len(enc)]
}
