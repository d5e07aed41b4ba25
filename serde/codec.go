package serde

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/internal/walk"
	"github.com/leat-stream/leat/serde/registry"
)

// AvroCodec is the Avro library that [Avro] stands on. Both methods compile: they
// run once per schema, what they return runs once per record and is called
// concurrently. [Twmb] is the default; package serde/hamba has another.
type AvroCodec interface {
	// Encoder compiles schema for writing. The result appends the datum of the
	// value that v points to.
	Encoder(schema registry.Schema) (encode func(dst []byte, v any) ([]byte, error), err error)

	// Decoder compiles the reading of what was written with the schema writer
	// into values as reader describes them, by Avro's rules of resolution. An
	// error means that this is impossible, for every record. The result decodes
	// one datum into the zero value that v points to and returns the bytes after
	// it; it must refuse a datum that is not whole. The value may refer to data.
	Decoder(writer, reader registry.Schema) (decode func(data []byte, v any) (rest []byte, err error), err error)
}

// Twmb is the default [AvroCodec]: github.com/twmb/avro. A struct's fields are
// matched by their `avro:"name"` tags. The zero value is ready to use.
//
// Decoding takes memory in proportion to the record, whatever its counts say, but for arrays
// whose items take no bytes, as of nulls: such a one takes up to 64 KiB for three; more than
// 4,096 such items are refused. Data of a schema whose arrays or maps contain themselves, as a
// tree's children, is gone over once before it is decoded, since the library takes memory by
// the counts at every depth; it may nest up to 1,000 deep.
type Twmb struct {
	// AliasInput lets decoded strings and byte slices point into the record's
	// bytes instead of copying them. It saves most allocations of a decode; but
	// one small value that is kept, in a table or cache, then keeps a whole
	// fetched batch alive, and nothing decoded may be modified. Default false.
	AliasInput bool
	// SkipUnknown lets T have fewer fields than the reader's schema; the others
	// are skipped when reading. Writing still needs them all. Default false: a
	// missing field is a mistake that Validate reports.
	SkipUnknown bool
	// Options are passed to the parser of every schema: custom types, lax names.
	Options []avro.SchemaOpt
}

var _ AvroCodec = Twmb{}

// Encoder implements [AvroCodec]. Encoding allocates nothing for most types.
func (c Twmb) Encoder(schema registry.Schema) (func([]byte, any) ([]byte, error), error) {
	s, err := c.parse(schema)
	if err != nil {
		return nil, err
	}
	return func(dst []byte, v any) ([]byte, error) { return s.AppendEncode(dst, v) }, nil
}

// Decoder implements [AvroCodec].
func (c Twmb) Decoder(writer, reader registry.Schema) (func([]byte, any) ([]byte, error), error) {
	w, err := c.parse(writer)
	if err != nil {
		return nil, fmt.Errorf("writer's schema: %w", err)
	}
	r, err := c.parse(reader)
	if err != nil {
		return nil, fmt.Errorf("reader's schema: %w", err)
	}
	s, err := avro.Resolve(w, r)
	if err != nil {
		return nil, err
	}
	var opts []avro.Opt
	if c.AliasInput {
		opts = append(opts, avro.AliasInput())
	}
	if c.SkipUnknown {
		opts = append(opts, avro.SkipUnknown())
	}
	tree, err := nodeOf(w.Root(), "", map[string]*walk.Node{})
	if err != nil || !tree.Tree() { // a schema that the library takes is no mistake, whatever we make of it
		return func(data []byte, v any) ([]byte, error) { return s.Decode(data, v, opts...) }, nil
	}
	return func(data []byte, v any) ([]byte, error) {
		if _, err := tree.Check(data, walk.Limits{Items: int64(len(data)), Bytes: int64(len(data)), Depth: maxTreeDepth}); err != nil {
			return nil, err
		}
		return s.Decode(data, v, opts...)
	}, nil
}

const maxTreeDepth = 1000

func (c Twmb) parse(schema registry.Schema) (*avro.Schema, error) {
	if schema.Type != "" && schema.Type != registry.Avro {
		return nil, fmt.Errorf("it is of type %s, not %s", schema.Type, registry.Avro)
	}
	if len(schema.References) == 0 {
		return avro.Parse(schema.Text, c.Options...)
	}
	var named avro.SchemaCache
	for _, r := range schema.References {
		if _, err := named.Parse(r.Text, c.Options...); err != nil {
			return nil, fmt.Errorf("reference %q: %w", r.Name, err)
		}
	}
	return named.Parse(schema.Text, c.Options...)
}

// avroDetail describes a library's error without the values that it may quote.
// The names of fields and types are the schema's and the program's own. A codec's
// own error is quoted if it has a method SafeError() string.
func avroDetail(err error) string {
	var short *avro.ShortBufferError
	var semantic *avro.SemanticError
	var compat *avro.CompatibilityError
	var safe interface{ SafeError() string }
	switch {
	case errors.As(err, &safe):
		return safe.SafeError()
	case errors.As(err, &compat):
		return compat.Error()
	case errors.As(err, &semantic):
		bare := *semantic
		bare.Err = nil
		text := bare.Error()
		if bare.GoType == nil && bare.Field != "" { // without a type, the library forgets the field
			text = "avro: field " + bare.Field
		}
		if errors.As(semantic.Err, &short) {
			text += ": " + short.Error()
		}
		return text
	case errors.As(err, &short):
		return short.Error()
	}
	for _, prefix := range quotesNothing {
		if strings.HasPrefix(err.Error(), prefix) {
			return err.Error()
		}
	}
	return "refused by the codec"
}

// quotesNothing are the beginnings of errors without a type of their own that
// hold an index or a length and no value.
var quotesNothing = []string{
	"union index ", "enum index ", "invalid negative ", "invalid null-union ", "invalid array ", "invalid map ",
	"array block ", "array of zero-byte ", "map block ",
}
