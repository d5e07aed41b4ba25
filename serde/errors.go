package serde

import (
	"errors"
	"fmt"
	"strings"
)

// Why a record's bytes could not be decoded. They arrive wrapped in a
// [*DecodeError] and are the record's error: its policy decides.
var (
	// ErrEmpty: there are no bytes at all, but the key or value is not null.
	ErrEmpty = errors.New("empty: zero bytes, which is not the same as null")
	// ErrNotFramed: the bytes do not begin with a zero byte and a schema id.
	ErrNotFramed = errors.New("not in Confluent's wire format (a zero byte, then 4 bytes of schema id)")
	// ErrUnknownSchema: the registry has no schema with the id.
	ErrUnknownSchema = errors.New("unknown schema id")
	// ErrMalformed: the bytes do not fit the schema or the type.
	ErrMalformed = errors.New("malformed")
	// ErrTrailing: bytes are left over after the value.
	ErrTrailing = errors.New("bytes are left over after the value")
	// ErrNotUTF8: the text is not valid UTF-8.
	ErrNotUTF8 = errors.New("not valid UTF-8")
	// ErrInvalidValue: what was read, or is to be written, does not satisfy its schema.
	ErrInvalidValue = errors.New("the value violates its schema")
	// ErrNull: the encoding of null, for a type that cannot be null.
	ErrNull = errors.New("a null, for a type that has none")
)

// What is wrong for every record alike. Both are marked with pipeline.Fatal.
var (
	// ErrInvalid: the serde was built wrongly; Validate says how.
	ErrInvalid = errors.New("invalid serde")
	// ErrUnresolvable: what a writer's schema describes cannot be read as the
	// reader's schema wants it. The reader's is the one given to [Avro].
	ErrUnresolvable = errors.New("the writer's schema cannot be resolved to the reader's")
)

// DecodeError is a record's key or value that could not be decoded. Its text says
// where and of what type; it quotes nothing of the record.
type DecodeError struct {
	// Format is "avro", "json", "jsonschema", "protobuf" or "text".
	Format string
	// SchemaID is the writer's schema, 0 if none was read.
	SchemaID uint32
	// Kind is one of this package's sentinels, or pipeline.ErrTombstone.
	Kind error
	// Detail says where: a field, an offset. It may be empty.
	Detail string
	// Cause is the underlying error, or nil. Its own text may quote the record;
	// it is not part of this error's.
	Cause error
}

// Error implements error.
func (e *DecodeError) Error() string {
	var b strings.Builder
	b.WriteString("decode " + e.Format)
	if e.SchemaID != 0 {
		fmt.Fprintf(&b, " (schema id %d)", e.SchemaID)
	}
	fmt.Fprintf(&b, ": %v", e.Kind)
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

// Unwrap returns Kind and Cause.
func (e *DecodeError) Unwrap() []error { return pair(e.Kind, e.Cause) }

// EncodeError is a value that its format or schema cannot express: an enum symbol
// the schema does not have, a number out of range. It is the record's error. Its
// text quotes nothing of the value.
type EncodeError struct {
	// Format is "avro", "json", "jsonschema", "protobuf" or "text".
	Format string
	// Detail says where and why.
	Detail string
	// Cause is the underlying error. Its own text may quote the value; it is not
	// part of this error's.
	Cause error
}

// Error implements error.
func (e *EncodeError) Error() string {
	if e.Detail == "" {
		return "encode " + e.Format + ": the value cannot be expressed"
	}
	return "encode " + e.Format + ": " + e.Detail
}

// Unwrap returns Cause.
func (e *EncodeError) Unwrap() error { return e.Cause }

func pair(kind, cause error) []error {
	if cause == nil {
		return []error{kind}
	}
	return []error{kind, cause}
}
