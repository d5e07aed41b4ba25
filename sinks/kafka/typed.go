package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// ErrEncode says that a serde could not encode the key or the value. The record was not
// taken.
var ErrEncode = errors.New("cannot be encoded")

// Typed sends values of one type to one topic, through a [Producer]. It has nothing of
// its own to close, and may be used from any goroutine.
type Typed[T any] struct {
	p       *Producer
	tx      *Transaction // nil outside of one
	topic   string
	value   pipeline.Serde[T]
	view    pipeline.Viewer[T] // nil if value is none
	options typedOptions[T]
}

type typedOptions[T any] struct {
	key     func(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error)
	prepare func(ctx context.Context, at pipeline.Slot) error // the key's serde
	headers func(T) pipeline.Headers
	at      func(T) time.Time
	by      pipeline.Partitioner
	of      func(v T, partitions int32) (int32, error)
}

// TypedOption says what besides the value a record gets.
type TypedOption[T any] func(*typedOptions[T])

// For returns a front of p that sends T's to a topic, encoded by value. Without options
// records have no key and no headers, and the time of sending. Interceptors see a T
// before it is encoded; key and value are encoded before the partition is chosen.
//
//	orders := kafka.For(producer, "orders", serde.JSON[Order](), kafka.KeyOf(Order.ID, serde.String()))
//	err := orders.Send(ctx, order, nil)
func For[T any](p *Producer, topic string, value pipeline.Serde[T], opts ...TypedOption[T]) *Typed[T] {
	t := &Typed[T]{p: p, topic: topic, value: value}
	t.view, _ = value.(pipeline.Viewer[T])
	for _, o := range opts {
		o(&t.options)
	}
	return t
}

// KeyOf gives records the key that f finds in a value, encoded by serde.
func KeyOf[T, K any](f func(T) K, serde pipeline.Serde[K]) TypedOption[T] {
	return func(o *typedOptions[T]) {
		o.key = func(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error) {
			return serde.Append(ctx, dst, at, f(v))
		}
		o.prepare = func(ctx context.Context, at pipeline.Slot) error { return prepare(ctx, serde, at) }
	}
}

// HeadersOf gives records the headers that f returns, which may be shared.
func HeadersOf[T any](f func(T) pipeline.Headers) TypedOption[T] {
	return func(o *typedOptions[T]) { o.headers = f }
}

// TimestampOf gives records the time that f finds in a value; the zero time is now.
func TimestampOf[T any](f func(T) time.Time) TypedOption[T] {
	return func(o *typedOptions[T]) { o.at = f }
}

// PartitionBy chooses the partitions, in place of the producer's partitioner. It sees
// the serialized key and value.
func PartitionBy[T any](by pipeline.Partitioner) TypedOption[T] {
	return func(o *typedOptions[T]) { o.by = by }
}

// PartitionOf chooses the partitions by the values themselves, in place of the
// producer's partitioner, under the rules of a [PartitionFunc]. It costs an allocation
// a record.
func PartitionOf[T any](f func(v T, partitions int32) (int32, error)) TypedOption[T] {
	return func(o *typedOptions[T]) { o.of = f }
}

// In returns the same front within a transaction.
func (t *Typed[T]) In(tx *Transaction) *Typed[T] {
	in := *t
	in.p, in.tx = tx.p, tx
	return &in
}

// Prepare does the serdes' first look-ups, if they have any (see pipeline.Preparer), so
// that a registry that is down or lacks a schema shows before the first record.
func (t *Typed[T]) Prepare(ctx context.Context) error {
	if t.options.prepare != nil {
		if err := t.options.prepare(ctx, pipeline.Slot{Topic: t.topic, Key: true}); err != nil {
			return fmt.Errorf("prepare the key of topic %q: %w", t.topic, err)
		}
	}
	if err := prepare(ctx, t.value, pipeline.Slot{Topic: t.topic}); err != nil {
		return fmt.Errorf("prepare the value of topic %q: %w", t.topic, err)
	}
	return nil
}

func prepare(ctx context.Context, serde any, at pipeline.Slot) error {
	if p, ok := serde.(pipeline.Preparer); ok {
		return p.Prepare(ctx, at, true)
	}
	return nil
}

// encoded is where a record is encoded; the producer copies it from there.
type encoded struct {
	key, value []byte
	headers    pipeline.Headers
}

var encodings = sync.Pool{New: func() any { return &encoded{key: make([]byte, 0, 64), value: make([]byte, 0, 512)} }}

// Send is [Producer.Send] for a value. An encoding that fails is [ErrEncode]. The
// encoding costs no allocation of ours.
func (t *Typed[T]) Send(ctx context.Context, v T, done Callback) error {
	if t.tx != nil {
		return t.tx.within(t.topic, func() error { return t.send(ctx, v, done) })
	}
	if t.p.settings.TransactionalID != "" {
		return newDeliveryError(t.topic, noPartition, ErrTransaction)
	}
	return t.send(ctx, v, done)
}

func (t *Typed[T]) send(ctx context.Context, v T, done Callback) error {
	began := time.Now()
	r := Record{Topic: t.topic, Partitioner: t.options.by}
	if t.options.of != nil {
		r.Partitioner = PartitionFunc(func(_ string, _, _ []byte, n int32) (int32, error) { return t.options.of(v, n) })
	}
	if t.options.headers != nil {
		r.Headers = t.options.headers(v)
	}
	if t.options.at != nil {
		r.Timestamp = t.options.at(v)
	}
	if len(t.p.interceptors) > 0 {
		r = t.p.intercept(ctx, r, v)
	}
	e := encodings.Get().(*encoded)
	defer e.free()
	if err := t.encode(ctx, e, &r, v); err != nil {
		return t.p.refused(&r, noPartition, fmt.Errorf("%w: %w", ErrEncode, err), began)
	}
	return t.p.enqueue(ctx, &r, done)
}

func (t *Typed[T]) encode(ctx context.Context, e *encoded, r *Record, v T) (err error) {
	e.headers = r.Headers
	if t.options.key != nil {
		if r.Key, err = t.options.key(ctx, e.key[:0], pipeline.Slot{Topic: r.Topic, Key: true, Headers: &e.headers}, v); err != nil {
			return fmt.Errorf("key: %w", err)
		}
		e.key = keep(e.key, r.Key)
	}
	if t.view != nil {
		r.Value = t.view.View(v)
	} else {
		if r.Value, err = t.value.Append(ctx, e.value[:0], pipeline.Slot{Topic: r.Topic, Headers: &e.headers}, v); err != nil {
			return fmt.Errorf("value: %w", err)
		}
		e.value = keep(e.value, r.Value)
	}
	r.Headers = e.headers
	return nil
}

// keep returns the larger of two buffers, unless it is very large.
func keep(old, grown []byte) []byte {
	if cap(grown) > cap(old) && cap(grown) <= 64<<10 {
		return grown
	}
	return old
}

func (e *encoded) free() {
	e.headers = nil
	encodings.Put(e)
}

// SendFuture is [Producer.SendFuture] for a value.
func (t *Typed[T]) SendFuture(ctx context.Context, v T) (*Future, error) {
	f := newFuture()
	return f, t.Send(ctx, v, f.complete)
}

// SendSync is [Producer.SendSync] for a value.
func (t *Typed[T]) SendSync(ctx context.Context, v T) (Result, error) {
	return await(ctx, func(done Callback) error { return t.Send(ctx, v, done) })
}

// SendMany is [Producer.SendMany] for values.
func (t *Typed[T]) SendMany(ctx context.Context, values []T) ([]Outcome, error) {
	return sendMany(ctx, len(values), func(i int, done Callback) error { return t.Send(ctx, values[i], done) })
}
