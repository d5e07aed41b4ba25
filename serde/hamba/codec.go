package hamba

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/hamba/avro/v2"
	twmb "github.com/twmb/avro"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/walk"
	"github.com/leat-stream/leat/serde/registry"
)

// Defaults of Codec.
const (
	DefaultMaxItems = 1 << 20
	DefaultMaxBytes = 64 << 20
	DefaultMaxDepth = 200
)

// Codec is a serde.AvroCodec over hamba/avro. The zero value is ready to use. See
// the package's comment for what it guards against and what stays open.
type Codec struct {
	// TagKey is the key of struct tags. Default "avro".
	TagKey string
	// MaxItems bounds the entries of one array or map. Default 1,048,576.
	MaxItems int
	// MaxBytes bounds one string or bytes value, in bytes. Default 64 MiB.
	MaxBytes int
	// MaxDepth bounds how deep values of a recursive schema may nest. Default 200.
	MaxDepth int
	// Setup, if set, is called with every avro.API before its first use, once
	// per compiled schema: register types and converters here.
	Setup func(avro.API)
}

var (
	_ serde.AvroCodec = Codec{}
	_ serde.Validator = Codec{}
)

// Validate implements serde.Validator.
func (c Codec) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxItems", c.MaxItems}, {"MaxBytes", c.MaxBytes}, {"MaxDepth", c.MaxDepth}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("hamba: %s: %d is negative", f.name, f.value))
		}
	}
	return errors.Join(errs...)
}

func (c Codec) withDefaults() Codec {
	if c.MaxItems == 0 {
		c.MaxItems = DefaultMaxItems
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxDepth == 0 {
		c.MaxDepth = DefaultMaxDepth
	}
	return c
}

func (c Codec) api() avro.API {
	api := avro.Config{
		TagKey: c.TagKey,
		// The walk has bounded both by the bytes that are there; these are the
		// second line.
		MaxByteSliceSize: c.MaxBytes, MaxSliceAllocSize: c.MaxItems,
	}.Freeze()
	if c.Setup != nil {
		c.Setup(api)
	}
	return api
}

// Encoder implements serde.AvroCodec.
func (c Codec) Encoder(schema registry.Schema) (func([]byte, any) ([]byte, error), error) {
	c = c.withDefaults()
	s, err := parse(schema)
	if err != nil {
		return nil, err
	}
	api := c.api()
	writers := sync.Pool{New: func() any { return avro.NewWriter(nil, 512, avro.WithWriterConfig(api)) }}
	return func(dst []byte, v any) (out []byte, err error) {
		// Not returned to the pool after a panic: its state is anyone's guess.
		defer guard(&err)
		w, _ := writers.Get().(*avro.Writer)
		w.Error = nil
		w.Reset(nil)
		w.WriteVal(s, v)
		out, err = append(dst, w.Buffer()...), w.Error
		writers.Put(w)
		if err != nil {
			return nil, err
		}
		return out, nil
	}, nil
}

// Decoder implements serde.AvroCodec.
func (c Codec) Decoder(writer, reader registry.Schema) (func([]byte, any) ([]byte, error), error) {
	c = c.withDefaults()
	w, err := parse(writer)
	if err != nil {
		return nil, fmt.Errorf("writer's schema: %w", err)
	}
	r, err := parse(reader)
	if err != nil {
		return nil, fmt.Errorf("reader's schema: %w", err)
	}
	same, err := compatible(writer, reader)
	if err != nil {
		return nil, err
	}
	resolved := r
	if !same {
		if recursive(w, map[string]bool{}) || recursive(r, map[string]bool{}) {
			return nil, errRecursive
		}
		if resolved, err = resolve(w, r); err != nil {
			return nil, err
		}
	}
	node, err := nodeOf(w, map[string]*walk.Node{})
	if err != nil {
		return nil, fmt.Errorf("writer's schema: %w", err)
	}
	limits := walk.Limits{Items: int64(c.MaxItems), Bytes: int64(c.MaxBytes), Depth: c.MaxDepth}
	api := c.api()
	readers := sync.Pool{New: func() any { return avro.NewReader(nil, 0, avro.WithReaderConfig(api)) }}
	return func(data []byte, v any) (rest []byte, err error) {
		end, err := node.Check(data, limits)
		if err != nil {
			return nil, err
		}
		defer guard(&err)
		rd, _ := readers.Get().(*avro.Reader)
		rd.Error = nil
		rd.Reset(data[:end])
		rd.ReadVal(resolved, v)
		err = rd.Error
		rd.Reset(nil) // the pool must not keep the record alive
		readers.Put(rd)
		if err != nil {
			return nil, err
		}
		return data[end:], nil
	}, nil
}

func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("hamba/avro: %w", &pipeline.PanicError{Value: r})
	}
}

func parse(schema registry.Schema) (s avro.Schema, err error) {
	defer guard(&err)
	if schema.Type != "" && schema.Type != registry.Avro {
		return nil, fmt.Errorf("it is of type %s, not %s", schema.Type, registry.Avro)
	}
	// Never avro.Parse: its cache is global, and a type of one schema would
	// resolve a name in another.
	names := &avro.SchemaCache{}
	for _, r := range schema.References {
		if _, err := avro.ParseWithCache(r.Text, "", names); err != nil {
			return nil, fmt.Errorf("reference %q: %w", r.Name, err)
		}
	}
	return avro.ParseWithCache(schema.Text, "", names)
}

// compatible asks the other library, which checks more. Same tells that the two
// describe the same bytes, so that nothing needs resolving.
func compatible(writer, reader registry.Schema) (same bool, err error) {
	var parsed [2]*twmb.Schema
	for i, s := range []registry.Schema{writer, reader} {
		var names twmb.SchemaCache
		for _, r := range s.References {
			if _, err := names.Parse(r.Text); err != nil {
				return false, fmt.Errorf("reference %q: %w", r.Name, err)
			}
		}
		if parsed[i], err = names.Parse(s.Text); err != nil {
			return false, err
		}
	}
	if err := twmb.CheckCompatibility(parsed[0], parsed[1]); err != nil {
		return false, err
	}
	return bytes.Equal(parsed[0].Canonical(), parsed[1].Canonical()), nil
}

var errRecursive = errors.New("hamba/avro cannot resolve schemas that contain themselves (it ends the process); use the default codec")

// recursive reports whether a type in s contains itself. Open are the records
// around s, with false those that are done.
func recursive(s avro.Schema, open map[string]bool) bool {
	switch s := s.(type) {
	case *avro.RefSchema:
		return open[s.Schema().FullName()] || recursive(s.Schema(), open)
	case *avro.ArraySchema:
		return recursive(s.Items(), open)
	case *avro.MapSchema:
		return recursive(s.Values(), open)
	case *avro.UnionSchema:
		for _, b := range s.Types() {
			if recursive(b, open) {
				return true
			}
		}
	case *avro.RecordSchema:
		if _, seen := open[s.FullName()]; seen {
			return false
		}
		open[s.FullName()] = true
		defer func() { open[s.FullName()] = false }()
		for _, f := range s.Fields() {
			if recursive(f.Type(), open) {
				return true
			}
		}
	}
	return false
}

// resolve takes the writer first, as serde does; the library wants the reader
// first.
func resolve(writer, reader avro.Schema) (s avro.Schema, err error) {
	defer guard(&err)
	return avro.NewSchemaCompatibility().Resolve(reader, writer)
}
