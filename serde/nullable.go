package serde

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// Nullable makes a serde that knows null from one that does not: a nil pointer is
// a null key or value, a tombstone, in both directions; any other goes through
// inner. Decode allocates the value that the pointer refers to.
func Nullable[T any](inner Serde[T]) Serde[*T] { return nullable[T]{inner} }

type nullable[T any] struct{ inner Serde[T] }

func (nullable[T]) DecodesNull() {}

func (n nullable[T]) Append(ctx context.Context, dst []byte, at pipeline.Slot, v *T) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	if p, ok := n.inner.(pipeline.PointerEncoder[T]); ok {
		return p.AppendPointer(ctx, dst, at, v)
	}
	return n.inner.Append(ctx, dst, at, *v)
}

func (n nullable[T]) Decode(ctx context.Context, at pipeline.Slot, data []byte) (*T, error) {
	if data == nil {
		return nil, nil
	}
	if p, ok := n.inner.(pipeline.PointerDecoder[T]); ok {
		v := new(T)
		if err := p.DecodePointer(ctx, at, data, v); err != nil {
			return nil, err
		}
		return v, nil
	}
	v, err := n.inner.Decode(ctx, at, data)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// Prepare prepares inner, if it can be.
func (n nullable[T]) Prepare(ctx context.Context, at pipeline.Slot, encode bool) error {
	if p, ok := n.inner.(pipeline.Preparer); ok {
		return p.Prepare(ctx, at, encode)
	}
	return nil
}

// Validate validates inner, if it can be.
func (n nullable[T]) Validate() error {
	if n.inner == nil {
		return fmt.Errorf("%w: Nullable of nil", ErrInvalid)
	}
	if v, ok := n.inner.(Validator); ok {
		return v.Validate()
	}
	return nil
}
