package serde

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/internal/flight"
	"github.com/leat-stream/leat/serde/registry"
)

// format is a language of schemas, for values of one Go type. What it compiles runs
// once per record, is called concurrently, and takes a *T.
type format interface {
	// compile readies it for the serde's own schema.
	compile(o *options) (registry.Schema, error)
	// record is the full name of the own schema's record or message, if it has one.
	record() string
	// encoder compiles writing with a schema: the own one, or one of the registry's.
	// Head is what stands between the id and the body.
	encoder(s registry.Schema) (head []byte, encode encodeFunc, err error)
	// decoder compiles reading what was written with a schema into what the own one
	// describes. The error means that this is impossible, for every record.
	decoder(writer registry.Schema) (decodeFunc, error)
	// detail describes an error of what it compiled without the values that it may
	// quote.
	detail(err error) string
}

type (
	encodeFunc = func(dst []byte, v any) ([]byte, error)
	decodeFunc = func(m message, v any) (rest []byte, err error)
)

// framed is a serde of Confluent's wire formats, over any format.
type framed[T any] struct {
	reg    *registry.Client
	opts   options
	title  string // of the function that made it
	name   string // of the format
	format format
	err    error // of Validate
	schema registry.Schema

	targets  *flight.Cache[place, *target]
	decoders *flight.Cache[uint32, decodeFunc]
	byGUID   *flight.Cache[guid, decodeFunc] // the same, for the header form
	// values holds *T: a pointer to an argument would make every value escape to
	// the heap. What they refer to stays alive until their next use, or the second
	// collection from now.
	values sync.Pool
}

// place is the part of a slot that a subject depends on.
type place struct {
	topic string
	key   bool
}

// target is how a place is written.
type target struct {
	head   []byte // before the bytes, or the value of the header
	encode encodeFunc
}

var (
	_ pipeline.Preparer            = (*framed[int])(nil)
	_ pipeline.PointerEncoder[int] = (*framed[int])(nil)
	_ pipeline.PointerDecoder[int] = (*framed[int])(nil)
	_ Validator                    = (*framed[int])(nil)
)

func newFramed[T any](reg *registry.Client, title string, f format, opts []Option) *framed[T] {
	s := &framed[T]{reg: reg, opts: newOptions(opts), title: title, name: strings.ToLower(title), format: f}
	s.targets = flight.New[place, *target](registry.DefaultMaxCached, nil)
	s.decoders = flight.New[uint32, decodeFunc](s.opts.maxSchemas, nil)
	s.byGUID = flight.New[guid, decodeFunc](s.opts.maxSchemas, nil)
	s.values.New = func() any { return new(T) }
	var errs []error
	if reg == nil {
		errs = append(errs, errors.New("no registry client"))
	}
	errs = append(errs, s.opts.mistakes(title))
	var err error
	if s.schema, err = f.compile(&s.opts); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		s.err = fmt.Errorf("%w: %s[%v]: %w", ErrInvalid, title, reflect.TypeFor[T](), err)
	}
	return s
}

// Validate implements [Validator].
func (s *framed[T]) Validate() error { return s.err }

// Prepare readies the schema for writing, or, for reading, asks whether the registry
// answers.
func (s *framed[T]) Prepare(ctx context.Context, at pipeline.Slot, encode bool) error {
	if s.err != nil {
		return pipeline.Fatal(s.err)
	}
	if encode {
		_, err := s.target(ctx, at)
		return err
	}
	return s.reg.Ping(ctx)
}

func (s *framed[T]) Append(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error) {
	p, _ := s.values.Get().(*T)
	*p = v
	out, err := s.AppendPointer(ctx, dst, at, p)
	s.values.Put(p)
	return out, err
}

// AppendPointer implements [pipeline.PointerEncoder].
func (s *framed[T]) AppendPointer(ctx context.Context, dst []byte, at pipeline.Slot, v *T) ([]byte, error) {
	if s.err != nil {
		return nil, pipeline.Fatal(s.err)
	}
	t, ok := s.targets.Peek(place{at.Topic, at.Key})
	if !ok {
		var err error
		if t, err = s.target(ctx, at); err != nil {
			return nil, err
		}
	}
	if s.opts.inHeader {
		if at.Headers == nil {
			return nil, pipeline.Fatal(fmt.Errorf("%w: InHeader: there are no headers here", ErrInvalid))
		}
		*at.Headers = at.Headers.Set(schemaHeader(at), t.head)
	} else {
		dst = append(dst, t.head...)
	}
	out, err := t.encode(dst, v)
	if err != nil {
		return nil, &EncodeError{Format: s.name, Detail: s.detail(err), Cause: err}
	}
	return out, nil
}

func (s *framed[T]) Decode(ctx context.Context, at pipeline.Slot, data []byte) (v T, err error) {
	var zero T
	p, _ := s.values.Get().(*T)
	*p = zero // what the last one refers to is not ours to overwrite
	if err = s.DecodePointer(ctx, at, data, p); err == nil {
		v = *p
	}
	s.values.Put(p)
	return v, err
}

// DecodePointer implements [pipeline.PointerDecoder].
func (s *framed[T]) DecodePointer(ctx context.Context, at pipeline.Slot, data []byte, v *T) error {
	if s.err != nil {
		return pipeline.Fatal(s.err)
	}
	if data == nil {
		return &DecodeError{Format: s.name, Kind: pipeline.ErrTombstone}
	}
	m, kind := unframe(at, data)
	if kind != nil {
		return &DecodeError{Format: s.name, SchemaID: m.writer.id, Kind: kind}
	}
	decode, ok := s.decoders.Peek(m.writer.id)
	if !ok {
		var err error
		if decode, err = s.decoder(ctx, m.writer); err != nil {
			return err
		}
	}
	rest, err := decode(m, v)
	switch {
	case err != nil:
		return &DecodeError{Format: s.name, SchemaID: m.writer.id, Kind: kindOf(err), Detail: s.detail(err), Cause: err}
	case len(rest) > 0:
		return &DecodeError{Format: s.name, SchemaID: m.writer.id, Kind: ErrTrailing, Detail: fmt.Sprintf("%d of them", len(rest))}
	}
	return nil
}

// maxDetail bounds the text of an error, in bytes: a path through a value that contains itself
// is as long as the value is deep.
const maxDetail = 500

func (s *framed[T]) detail(err error) string {
	text := s.format.detail(err)
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + " …"
}

// kindOf lets a format say more than that something is malformed.
func kindOf(err error) error {
	for _, kind := range []error{ErrInvalidValue, ErrTrailing, ErrNull} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return ErrMalformed
}

// target is apart from Append, since its closure would be allocated on every call.
func (s *framed[T]) target(ctx context.Context, at pipeline.Slot) (*target, error) {
	at.Headers = nil
	return s.targets.Get(ctx, place{at.Topic, at.Key}, func(ctx context.Context) (*target, error) {
		subject := s.opts.subject(at, s.format.record())
		if strings.TrimSpace(subject) == "" && s.opts.find != findID {
			return nil, pipeline.Fatal(fmt.Errorf("%w: %s[%v]: Subject gives no name for topic %q; does the schema have one?", ErrInvalid, s.title, reflect.TypeFor[T](), at.Topic))
		}
		schema, err := s.found(ctx, subject)
		if err != nil {
			return nil, err
		}
		t := &target{}
		if s.opts.inHeader {
			g, ok := parseGUID(schema.GUID)
			if !ok {
				return nil, pipeline.Fatal(fmt.Errorf("encode %s: subject %q: InHeader: the registry gives no GUID", s.name, subject))
			}
			t.head = header(g)
		} else {
			t.head = prefix(uint32(schema.ID))
		}
		head, encode, err := s.format.encoder(schema.Schema)
		if err != nil {
			return nil, pipeline.Fatal(fmt.Errorf("encode %s: schema id %d of subject %q: %w", s.name, schema.ID, subject, err))
		}
		t.head, t.encode = append(t.head, head...), encode
		return t, nil
	})
}

// found returns the schema to write with, as the registry has it.
func (s *framed[T]) found(ctx context.Context, subject string) (registry.Registered, error) {
	own := s.schema
	switch s.opts.find {
	case findLatest:
		return s.reg.Latest(ctx, subject)
	case findID:
		schema, err := s.reg.SchemaByID(ctx, s.opts.id)
		if errors.Is(err, registry.ErrNotFound) {
			err = pipeline.Fatal(err)
		}
		return registry.Registered{ID: s.opts.id, Schema: schema}, err
	case findNothing:
		return registry.Registered{}, pipeline.Fatal(fmt.Errorf("%w: %s[%v]: writing needs Schema, UseLatest or UseID", ErrInvalid, s.title, reflect.TypeFor[T]()))
	}
	register := s.opts.find == findRegister
	refs, err := s.reg.Resolve(ctx, own, register)
	if err != nil {
		return registry.Registered{}, err
	}
	own.References = refs
	if s.opts.check {
		if err := s.reg.MustBeCompatible(ctx, subject, own); err != nil {
			return registry.Registered{}, err
		}
	}
	out := registry.Registered{Subject: subject, Schema: own}
	switch {
	case register && !s.opts.inHeader:
		out.ID, err = s.reg.Register(ctx, subject, own)
	case !s.opts.inHeader:
		out.ID, err = s.reg.Lookup(ctx, subject, own)
	default:
		out, err = s.reg.WithGUID(ctx, subject, own, register)
	}
	out.Schema = s.schema // with the texts of its references
	return out, err
}

func (s *framed[T]) decoder(ctx context.Context, w writer) (decodeFunc, error) {
	if w.id != 0 {
		return s.decoders.Get(ctx, w.id, s.compiling(w))
	}
	if decode, ok := s.byGUID.Peek(w.guid); ok {
		return decode, nil
	}
	return s.byGUID.Get(ctx, w.guid, s.compiling(w))
}

// compiling returns what makes the decoder of a writer's schema.
func (s *framed[T]) compiling(w writer) func(context.Context) (decodeFunc, error) {
	return func(ctx context.Context) (decodeFunc, error) {
		var schema registry.Schema
		var err error
		if w.id != 0 {
			schema, err = s.reg.SchemaByID(ctx, int(w.id))
		} else {
			schema, err = s.reg.SchemaByGUID(ctx, w.guid.String())
		}
		if errors.Is(err, registry.ErrNotFound) && !pipeline.IsFatal(err) {
			return nil, &DecodeError{Format: s.name, SchemaID: w.id, Kind: ErrUnknownSchema, Cause: err}
		}
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", s.name, err)
		}
		decode, err := s.format.decoder(schema)
		if err != nil {
			return nil, pipeline.Fatal(fmt.Errorf("decode %s (schema %s): %w: %w", s.name, w, ErrUnresolvable, err))
		}
		return decode, nil
	}
}

func (w writer) String() string {
	if w.id != 0 {
		return fmt.Sprintf("id %d", w.id)
	}
	return "GUID " + w.guid.String()
}
