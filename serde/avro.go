package serde

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/internal/flight"
	"github.com/leat-stream/leat/serde/registry"
)

// DefaultMaxSchemas is the default of [MaxSchemas].
const DefaultMaxSchemas = 1000

// AvroOption is an option of [Avro].
type AvroOption func(*avroOptions)

type avroOptions struct {
	schema     string
	given      bool
	auto       bool
	codec      AvroCodec
	maxSchemas int
	subject    subjectName
}

// Schema gives the Avro schema in JSON (.avsc): what is written, and what
// everything read is resolved to. It is recommended: without it the schema is
// derived from T, and a derived one knows no enums, since Go has none. A field of
// a named string type becomes a plain string, which cannot be resolved with the
// enum that other programs write.
func Schema(avsc string) AvroOption {
	return func(o *avroOptions) { o.schema, o.given = avsc, true }
}

// AutoRegister says whether a schema that its subject does not have yet is
// registered there (default true). Off, it must be there already; that it is not
// stops the pipeline.
func AutoRegister(on bool) AvroOption {
	return func(o *avroOptions) { o.auto = on }
}

// Codec replaces the Avro library. Default: [Twmb] with its defaults.
func Codec(c AvroCodec) AvroOption {
	return func(o *avroOptions) { o.codec = c }
}

// MaxSchemas bounds the writers' schemas kept compiled, at least 1. Default
// 1,000; beyond it the oldest is compiled again when needed, after a look-up in
// the registry client's own cache.
func MaxSchemas(n int) AvroOption {
	return func(o *avroOptions) { o.maxSchemas = n }
}

// Avro is the serde of Avro in Confluent's wire format: a zero byte, the id of
// the writer's schema in reg, and the datum.
//
// Writing registers the schema under the subject <topic>-value or <topic>-key,
// see [AutoRegister]. Reading resolves every writer's schema to the one given:
// fields that only the writer has are skipped, fields that only the reader has
// take their default, int widens to long, and so on by Avro's specification.
//
// Bytes that are not framed, name an unknown id, are cut off or have bytes left
// over are the record's error, a [*DecodeError]. A writer's schema that cannot be
// resolved is everyone's: [ErrUnresolvable], marked with pipeline.Fatal. A
// registry that does not answer is marked with pipeline.Retriable. See package
// registry for the rest.
//
// Ids and compiled schemas are kept: in the steady state a record costs no
// request, no lock and no allocation beyond the codec's.
func Avro[T any](reg *registry.Client, opts ...AvroOption) Serde[T] {
	o := avroOptions{auto: true, codec: Twmb{}, maxSchemas: DefaultMaxSchemas, subject: topicName}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	s := &avroSerde[T]{
		reg: reg, opts: o,
		ids:      flight.New[slotKey, uint32](registry.DefaultMaxCached, nil),
		decoders: flight.New[uint32, decodeFunc](o.maxSchemas, nil),
	}
	s.values.New = func() any { return new(T) }
	s.err = s.compile()
	return s
}

type (
	encodeFunc = func(dst []byte, v any) ([]byte, error)
	decodeFunc = func(data []byte, v any) (rest []byte, err error)
)

// slotKey is the part of a slot that a subject depends on.
type slotKey struct {
	topic string
	key   bool
}

type avroSerde[T any] struct {
	reg    *registry.Client
	opts   avroOptions
	err    error // of Validate
	schema registry.Schema
	record string // the schema's full name, if it has one
	encode encodeFunc

	ids      *flight.Cache[slotKey, uint32]
	decoders *flight.Cache[uint32, decodeFunc]
	// values holds *T: a pointer to an argument would make every value escape to
	// the heap.
	values sync.Pool
}

var (
	_ pipeline.Preparer = (*avroSerde[int])(nil)
	_ Validator         = (*avroSerde[int])(nil)
)

func (s *avroSerde[T]) compile() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.reg == nil {
		bad("no registry client")
	}
	if s.opts.maxSchemas < 1 {
		bad("MaxSchemas: %d is less than 1", s.opts.maxSchemas)
	}
	codec := s.opts.codec
	if codec == nil {
		bad("Codec: nil")
	} else if v, ok := codec.(Validator); ok {
		if err := v.Validate(); err != nil {
			bad("Codec: %w", err)
		}
	}
	if err := s.compileSchema(codec); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: Avro[%v]: %w", ErrInvalid, reflect.TypeFor[T](), errors.Join(errs...))
}

func (s *avroSerde[T]) compileSchema(codec AvroCodec) error {
	text := s.opts.schema
	if !s.opts.given {
		derived, err := avro.SchemaFor[T]()
		if err != nil {
			return fmt.Errorf("no Schema given, and none can be derived: %w", err)
		}
		text = derived.String()
	}
	// Whatever the codec, so that all agree on what a schema is.
	parsed, err := Twmb{}.parse(registry.Schema{Text: text})
	if twmb, ok := codec.(Twmb); ok {
		parsed, err = twmb.parse(registry.Schema{Text: text})
	}
	if err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	root := parsed.Root()
	if root.Name != "" {
		s.record = root.Name
		if root.Namespace != "" {
			s.record = root.Namespace + "." + root.Name
		}
	}
	s.schema = registry.Schema{Type: registry.Avro, Text: text}
	if codec == nil {
		return nil
	}
	if s.encode, err = codec.Encoder(s.schema); err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	decode, err := codec.Decoder(s.schema, s.schema)
	if err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	if _, ok := codec.(Twmb); ok {
		return fits(root, decode, func() any { return new(T) })
	}
	return nil
}

// Validate implements [Validator].
func (s *avroSerde[T]) Validate() error { return s.err }

// Prepare registers or looks up the schema, or, for reading, asks whether the
// registry answers.
func (s *avroSerde[T]) Prepare(ctx context.Context, at pipeline.Slot, encode bool) error {
	if s.err != nil {
		return pipeline.Fatal(s.err)
	}
	if encode {
		_, err := s.id(ctx, at)
		return err
	}
	return s.reg.Ping(ctx)
}

func (s *avroSerde[T]) Append(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error) {
	if s.err != nil {
		return nil, pipeline.Fatal(s.err)
	}
	id, ok := s.ids.Peek(slotKey{at.Topic, at.Key})
	if !ok {
		var err error
		if id, err = s.id(ctx, at); err != nil {
			return nil, err
		}
	}
	p, _ := s.values.Get().(*T)
	*p = v
	out, err := s.encode(appendFrame(dst, id), p)
	s.release(p)
	if err != nil {
		return nil, &EncodeError{Format: "avro", Detail: avroDetail(err), Cause: err}
	}
	return out, nil
}

func (s *avroSerde[T]) Decode(ctx context.Context, _ pipeline.Slot, data []byte) (T, error) {
	var zero T
	if s.err != nil {
		return zero, pipeline.Fatal(s.err)
	}
	if data == nil {
		return zero, &DecodeError{Format: "avro", Kind: pipeline.ErrTombstone}
	}
	id, body, kind := unframe(data)
	if kind != nil {
		return zero, &DecodeError{Format: "avro", SchemaID: id, Kind: kind}
	}
	decode, ok := s.decoders.Peek(id)
	if !ok {
		var err error
		if decode, err = s.decoder(ctx, id); err != nil {
			return zero, err
		}
	}
	p, _ := s.values.Get().(*T)
	rest, err := decode(body, p)
	v := *p
	s.release(p)
	switch {
	case err != nil:
		return zero, &DecodeError{Format: "avro", SchemaID: id, Kind: ErrMalformed, Detail: avroDetail(err), Cause: err}
	case len(rest) > 0:
		return zero, &DecodeError{Format: "avro", SchemaID: id, Kind: ErrTrailing, Detail: fmt.Sprintf("%d of them", len(rest))}
	}
	return v, nil
}

// release clears the value: what it refers to must not be kept by the pool, nor
// overwritten by the next decode.
func (s *avroSerde[T]) release(p *T) {
	var zero T
	*p = zero
	s.values.Put(p)
}

// id is apart from Append, since its closure would be allocated on every call.
func (s *avroSerde[T]) id(ctx context.Context, at pipeline.Slot) (uint32, error) {
	at.Headers = nil
	return s.ids.Get(ctx, slotKey{at.Topic, at.Key}, func(ctx context.Context) (uint32, error) {
		subject := s.opts.subject(at, s.record)
		find := s.reg.Lookup
		if s.opts.auto {
			find = s.reg.Register
		}
		id, err := find(ctx, subject, s.schema)
		return uint32(id), err
	})
}

func (s *avroSerde[T]) decoder(ctx context.Context, id uint32) (decodeFunc, error) {
	return s.decoders.Get(ctx, id, func(ctx context.Context) (decodeFunc, error) {
		writer, err := s.reg.SchemaByID(ctx, int(id))
		if errors.Is(err, registry.ErrNotFound) && !pipeline.IsFatal(err) {
			return nil, &DecodeError{Format: "avro", SchemaID: id, Kind: ErrUnknownSchema, Cause: err}
		}
		if err != nil {
			return nil, fmt.Errorf("decode avro: %w", err)
		}
		decode, err := s.opts.codec.Decoder(writer, s.schema)
		if err != nil {
			return nil, pipeline.Fatal(fmt.Errorf("decode avro (schema id %d): %w: %w", id, ErrUnresolvable, err))
		}
		return decode, nil
	})
}
