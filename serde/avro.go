package serde

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/registry"
)

// Avro is the serde of Avro in Confluent's wire format: a zero byte, the id of
// the writer's schema in reg, and the datum; or with the schema's GUID in a header, see
// [InHeader].
//
// Writing registers the schema under the subject <topic>-value or <topic>-key,
// see [AutoRegister], [UseLatest], [UseID] and [Subject]. Reading resolves every
// writer's schema to the one given: fields that only the writer has are skipped,
// fields that only the reader has take their default, int widens to long, and so on by
// Avro's specification.
//
// Bytes that are not framed, name an unknown id, are cut off or have bytes left
// over are the record's error, a [*DecodeError]. A writer's schema that cannot be
// resolved is everyone's: [ErrUnresolvable], marked with pipeline.Fatal. A
// registry that does not answer is marked with pipeline.Retriable. See package
// registry for the rest.
//
// Ids and compiled schemas are kept: in the steady state a record costs no
// request, no lock and no allocation beyond the codec's.
func Avro[T any](reg *registry.Client, opts ...Option) Serde[T] {
	return newFramed[T](reg, "Avro", &avroFormat{typ: reflect.TypeFor[T](), derive: avro.SchemaFor[T], make: func() any { return new(T) }}, opts)
}

// AvroAny is [Avro] without a type: a datum of any writer's schema as the library's
// generic values (map[string]any for a record, int32, int64, string, []any …). With
// [Schema] everything is resolved to that; without it each datum is read as it was
// written, and writing needs [UseLatest] or [UseID].
func AvroAny(reg *registry.Client, opts ...Option) Serde[any] {
	return newFramed[any](reg, "Avro", &avroFormat{typ: reflect.TypeFor[any](), make: func() any { return new(any) }}, opts)
}

type avroFormat struct {
	typ    reflect.Type
	derive func(...avro.SchemaOpt) (*avro.Schema, error) // nil: as written
	make   func() any

	codec  AvroCodec
	schema registry.Schema // the zero value: as written
	name   string
}

func (f *avroFormat) compile(o *options) (registry.Schema, error) {
	f.codec = o.codec
	if f.codec == nil {
		return registry.Schema{}, errors.New("Codec: nil")
	}
	if v, ok := f.codec.(Validator); ok {
		if err := v.Validate(); err != nil {
			return registry.Schema{}, fmt.Errorf("Codec: %w", err)
		}
	}
	text := o.schema
	switch {
	case o.given:
	case f.derive == nil:
		if o.find != findLatest && o.find != findID {
			o.find = findNothing
		}
		return registry.Schema{}, nil
	default:
		derived, err := f.derive()
		if err != nil {
			return registry.Schema{}, fmt.Errorf("no Schema given, and none can be derived: %w", err)
		}
		text = derived.String()
	}
	f.schema = registry.Schema{Type: registry.Avro, Text: text, References: o.references}
	return f.schema, f.compileSchema()
}

func (f *avroFormat) compileSchema() error {
	// Whatever the codec, so that all agree on what a schema is.
	twmb, isTwmb := f.codec.(Twmb)
	parsed, err := twmb.parse(f.schema)
	if err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	root := parsed.Root()
	f.name = fullName(root)
	if _, err = f.codec.Encoder(f.schema); err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	decode, err := f.codec.Decoder(f.schema, f.schema)
	if err != nil {
		return fmt.Errorf("Schema: %w", err)
	}
	if isTwmb && f.derive != nil {
		return fits(root, decode, f.make)
	}
	return nil
}

func (f *avroFormat) record() string { return f.name }

func (f *avroFormat) encoder(s registry.Schema) ([]byte, encodeFunc, error) {
	encode, err := f.codec.Encoder(s)
	return nil, encode, err
}

func (f *avroFormat) decoder(writer registry.Schema) (decodeFunc, error) {
	reader := f.schema
	if reader.Text == "" {
		reader = writer
	}
	decode, err := f.codec.Decoder(writer, reader)
	if err != nil {
		return nil, err
	}
	return func(m message, v any) ([]byte, error) {
		if len(m.head) > 0 {
			return m.head, nil // left over
		}
		return decode(m.body, v)
	}, nil
}

func (f *avroFormat) detail(err error) string { return avroDetail(err) }
