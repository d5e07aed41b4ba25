package pipeline

import "context"

// Serde turns values into bytes and back. Package serde has the usual kinds and
// the serdes that use a schema registry.
//
// One Serde serves every partition at once: both methods may be called
// concurrently. They may block, for a look-up in a registry, and end early when
// ctx does. An error is the record's, and its policy decides; one marked with
// [Retriable] makes the partition wait and try again, one marked with [Fatal]
// fails the pipeline whatever the policy.
type Serde[T any] interface {
	// Append appends v's encoding to dst, which is never nil, and returns the
	// extended slice, as append does. Returning nil makes the output's key or
	// value null (for a value: a tombstone). It may add headers through
	// at.Headers.
	Append(ctx context.Context, dst []byte, at Slot, v T) ([]byte, error)

	// Decode reads a value from data. Leat neither modifies nor reuses data, so
	// the value may refer to it. Data is nil only if the serde is [Nullable].
	Decode(ctx context.Context, at Slot, data []byte) (T, error)
}

// Slot says what is being encoded or decoded: the key or the value of a record
// of which topic.
type Slot struct {
	// Topic is the record's topic; registries derive the subject from it.
	Topic string
	// Key tells that it is the key, not the value.
	Key bool
	// Headers are the record's headers. A serde may read them and, when
	// encoding, assign changed ones. It may be nil.
	Headers *Headers
}

// Nullable is a [Serde] that accepts null, decoding nil data. A typed From
// without it treats a tombstone as the record's error [ErrTombstone].
type Nullable interface {
	// DecodesNull only marks the serde.
	DecodesNull()
}

// Viewer is a [Serde] whose encoding of v already exists as bytes; View returns
// it without a copy, nil for null. Leat asks once, when it compiles a chain.
type Viewer[T any] interface {
	View(v T) []byte
}

// PointerEncoder is a [Serde] whose encoder works on a pointer, and would have to copy
// the value first: an output hands it the value where it stands.
type PointerEncoder[T any] interface {
	// AppendPointer is Append for *v, which it must neither change nor keep.
	AppendPointer(ctx context.Context, dst []byte, at Slot, v *T) ([]byte, error)
}

// PointerDecoder is the same for reading: an input has it decode into place.
type PointerDecoder[T any] interface {
	// DecodePointer is Decode into *v, which is the zero value. After an error it may
	// be anything. It must not be kept.
	DecodePointer(ctx context.Context, at Slot, data []byte, v *T) error
}

// Preparer is a [Serde] that can do its first look-ups before any record is
// read: [Run] calls it once for every slot where the serde stands, so that a
// wrong address or a missing schema stops the pipeline at its start. An error
// marked with [Retriable] is retried for 30 seconds.
type Preparer interface {
	// Prepare readies the serde for slot; encode tells that it will write
	// there, not read.
	Prepare(ctx context.Context, at Slot, encode bool) error
}
