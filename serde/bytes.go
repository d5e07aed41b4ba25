package serde

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Bytes is the serde of raw bytes: what is read is what is written. A null is a
// nil slice in both directions, an empty key or value a slice of length 0.
//
// Decode returns the record's own bytes without a copy: do not modify them. It
// costs nothing; Append copies, and a pipeline spares that too, since the serde
// is a [pipeline.Viewer].
func Bytes() Serde[[]byte] { return bytesSerde{} }

type bytesSerde struct{}

var (
	_ pipeline.Nullable       = bytesSerde{}
	_ pipeline.Viewer[[]byte] = bytesSerde{}
)

func (bytesSerde) DecodesNull() {}

func (bytesSerde) View(v []byte) []byte { return v }

func (bytesSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, v []byte) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return append(dst, v...), nil
}

func (bytesSerde) Decode(_ context.Context, _ pipeline.Slot, data []byte) ([]byte, error) {
	return data, nil
}
