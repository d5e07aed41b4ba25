package serde

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
)

// AsDescriptor has [Protobuf] register the file's descriptor, in base64, in place of
// its text. Registries take both; the descriptor survives those that print the text
// anew, and is what Confluent's clients other than Java's need where a registry cannot
// turn one into the other, as Apicurio's cannot. That one cannot compare two descriptors
// either: under BACKWARD it answers the second one of a subject with 500.
func AsDescriptor() Option {
	return func(o *options) {
		o.descriptor = true
		o.foreign = append(o.foreign, ownedOption{"AsDescriptor", "Protobuf"})
	}
}

// MessageOrNull makes null the encoding of a nil message, a tombstone, in both
// directions. Without it nil cannot be written and null not be read. It takes the place
// of [Nullable], for messages are pointers already.
func MessageOrNull() Option {
	return func(o *options) {
		o.nilIsNull = true
		o.foreign = append(o.foreign, ownedOption{"MessageOrNull", "Protobuf"})
	}
}

// Protobuf is the serde of Protocol Buffers with a schema in a registry, in the wire
// formats of [Avro] and with its options. T is a generated message, as *pb.Order. The
// id is followed by the message's place in its file, so nested and later ones work.
//
// The schema is T's own file, and those that it imports are registered under their paths
// as its references, but for google/protobuf/…, which registries know. [Schema] takes
// the place of it and must have a message of T's full name. What is read must be a
// message of that name in the writer's schema; fields that T does not have are kept as
// unknown ones, as in every Go program.
//
// A message is not delimited within itself: one that was cut off between two fields
// cannot be told from a shorter one.
func Protobuf[T proto.Message](reg *registry.Client, opts ...Option) Serde[T] {
	f := &protoFormat{typ: reflect.TypeFor[T]()}
	f.put = func(v any, m proto.Message) { *v.(*T) = m.(T) }
	f.get = func(v any) proto.Message { return *v.(*T) }
	if f.typ.Kind() == reflect.Pointer && f.typ != reflect.TypeFor[*dynamicpb.Message]() { // which has no type of its own
		var zero T
		f.own = zero.ProtoReflect().Type()
	}
	return protoSerde[T](reg, f, opts)
}

// ProtobufAny is [Protobuf] for any message: what is read is a *dynamicpb.Message of the
// writer's schema. What is written may be any message that the schema has, which is
// given by [Schema], [UseLatest] or [UseID]; with [InHeader] it must be its first.
func ProtobufAny(reg *registry.Client, opts ...Option) Serde[proto.Message] {
	f := &protoFormat{typ: reflect.TypeFor[proto.Message](), any: true}
	f.put = func(v any, m proto.Message) { *v.(*proto.Message) = m }
	f.get = func(v any) proto.Message { return *v.(*proto.Message) }
	return protoSerde[proto.Message](reg, f, opts)
}

func protoSerde[T proto.Message](reg *registry.Client, f *protoFormat, opts []Option) Serde[T] {
	s := newFramed[T](reg, "Protobuf", f, opts)
	if s.opts.nilIsNull {
		return messageOrNull[T]{s}
	}
	return s
}

type protoFormat struct {
	typ reflect.Type
	own protoreflect.MessageType // nil if the type is none
	any bool
	put func(v any, m proto.Message)
	get func(v any) proto.Message

	inHeader bool
	name     protoreflect.FullName
}

func (f *protoFormat) compile(o *options) (registry.Schema, error) {
	f.inHeader = o.inHeader
	switch {
	case f.any && !o.given:
		if o.find != findLatest && o.find != findID {
			o.find = findNothing
		}
		return registry.Schema{}, nil
	case !f.any && f.own == nil:
		return registry.Schema{}, fmt.Errorf("%v is no generated message; ProtobufAny takes any", f.typ)
	case !f.any:
		f.name = f.own.Descriptor().FullName()
	}
	var file protoreflect.FileDescriptor
	var err error
	s := registry.Schema{Type: registry.Protobuf, Text: o.schema, References: o.references}
	if o.given {
		if file, err = compileProto(s); err != nil {
			return s, fmt.Errorf("Schema: %w", err)
		}
		if f.any && file.Messages().Len() > 0 {
			f.name = file.Messages().Get(0).FullName()
		}
	} else {
		file = f.own.Descriptor().ParentFile()
		if s.References, err = protoReferences(file, o.descriptor); err != nil {
			return s, err
		}
	}
	if o.descriptor || !o.given {
		if s.Text, err = protoText(file, o.descriptor); err != nil {
			return s, err
		}
	}
	if !f.any {
		if _, err := placeOf(file, f.name); err != nil {
			return s, fmt.Errorf("Schema: %w", err)
		}
	}
	return s, nil
}

func (f *protoFormat) record() string { return string(f.name) }

var (
	errNilMessage   = errors.New("a nil message; MessageOrNull writes null for it")
	errOtherMessage = errors.New("the schema does not have the message")
)

func (f *protoFormat) encoder(s registry.Schema) ([]byte, encodeFunc, error) {
	file, err := compileProto(s)
	if err != nil {
		return nil, nil, err
	}
	marshal := proto.MarshalOptions{}
	if f.any && !f.inHeader {
		places := map[protoreflect.FullName][]byte{}
		for _, p := range messagesOf(file) {
			places[p.message.FullName()] = p.place
		}
		return nil, func(dst []byte, v any) ([]byte, error) {
			m := f.get(v)
			if m == nil {
				return nil, errNilMessage
			}
			place, ok := places[m.ProtoReflect().Descriptor().FullName()]
			if !ok {
				return nil, errOtherMessage
			}
			return marshal.MarshalAppend(append(dst, place...), m)
		}, nil
	}
	name := f.name
	if name == "" { // any, in the header: there is one place for all
		if file.Messages().Len() == 0 {
			return nil, nil, errOtherMessage
		}
		name = file.Messages().Get(0).FullName()
	}
	place, err := placeOf(file, name)
	if err != nil {
		return nil, nil, err
	}
	return place, func(dst []byte, v any) ([]byte, error) {
		m := f.get(v)
		if m == nil || !m.ProtoReflect().IsValid() {
			return nil, errNilMessage
		}
		if f.any && m.ProtoReflect().Descriptor().FullName() != name {
			return nil, errOtherMessage
		}
		return marshal.MarshalAppend(dst, m)
	}, nil
}

// unmarshalling bounds how deep messages may nest.
var unmarshalling = proto.UnmarshalOptions{RecursionLimit: 200}

var errPanic = errors.New("the library panics at it")

// unmarshalDynamic makes an error of a panic: the library panics at a map of a dynamic
// message that has a key and then one of another wire type.
func unmarshalDynamic(body []byte, m *dynamicpb.Message) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errPanic
		}
	}()
	return unmarshalling.Unmarshal(body, m)
}

func (f *protoFormat) decoder(writer registry.Schema) (decodeFunc, error) {
	file, err := compileProto(writer)
	if err != nil {
		return nil, err
	}
	if !f.any {
		if _, err := placeOf(file, f.name); err != nil {
			return nil, err
		}
	}
	messages := placesOf(file)
	return func(m message, v any) ([]byte, error) {
		body := m.body
		from := &body
		if m.inHeader {
			from = &m.head
		}
		place, err := takeIndexes(from)
		if err != nil {
			return nil, err
		}
		if m.inHeader && len(m.head) > 0 {
			return m.head, nil // left over
		}
		d := messages[string(place)]
		switch {
		case d == nil:
			return nil, errPlace
		case f.any:
			out := dynamicpb.NewMessage(d)
			f.put(v, out)
			return nil, unmarshalDynamic(body, out)
		case d.FullName() != f.name:
			return nil, &otherMessage{d.FullName()}
		}
		out := f.own.New().Interface()
		if err := unmarshalling.Unmarshal(body, out); err != nil {
			return nil, err
		}
		f.put(v, out)
		return nil, nil
	}, nil
}

// otherMessage is a message of the writer's schema that is not the one wanted.
type otherMessage struct{ name protoreflect.FullName }

func (e *otherMessage) Error() string { return "it is the message " + string(e.name) }

func (f *protoFormat) detail(err error) string {
	var other *otherMessage
	switch {
	case errors.As(err, &other):
		return fmt.Sprintf("it is a %s, not a %s", other.name, f.name)
	case errors.Is(err, errNilMessage), errors.Is(err, errOtherMessage), errors.Is(err, errPlace), errors.Is(err, errIndexes), errors.Is(err, errPanic):
		return err.Error()
	case errors.Is(err, proto.Error): // names fields, quotes no values
		return err.Error()
	}
	return "refused by the codec"
}

// Where a message stands in its file: the number of indexes, then each, as zigzag
// varints, from the outermost message inwards. A single 0 is written as one zero byte.
// A map's entry counts as a message, as it does in descriptors and in Confluent's clients
// that stand on them; Java's counts without it if it normalizes schemas.
var (
	singleIndex = []byte{0}

	errIndexes = errors.New("the message's place in its schema cannot be read")
	errPlace   = errors.New("the schema has no message at the place named")
)

// maxNesting bounds the indexes of one message.
const maxNesting = 100

func appendIndexes(dst []byte, indexes []int) []byte {
	if len(indexes) == 1 && indexes[0] == 0 {
		return append(dst, singleIndex...)
	}
	dst = binary.AppendVarint(dst, int64(len(indexes)))
	for _, i := range indexes {
		dst = binary.AppendVarint(dst, int64(i))
	}
	return dst
}

// takeIndexes cuts the indexes off, in the form in which appendIndexes writes them.
func takeIndexes(from *[]byte) (place []byte, err error) {
	data := *from
	n, size := binary.Varint(data)
	if size <= 0 || n < 0 || n > maxNesting {
		return nil, errIndexes
	}
	at, canonical := size, true
	for k := range n {
		i, size := binary.Varint(data[at:])
		if size <= 0 || i < 0 {
			return nil, errIndexes
		}
		canonical = canonical && !(n == 1 && k == 0 && i == 0)
		at += size
	}
	*from = data[at:]
	if !canonical || n == 0 {
		return singleIndex, nil
	}
	return data[:at], nil
}

// messageOrNull is a serde of messages that knows null.
type messageOrNull[T proto.Message] struct{ *framed[T] }

func (messageOrNull[T]) DecodesNull() {}

// AppendPointer is Append: the framed one knows no null.
func (s messageOrNull[T]) AppendPointer(ctx context.Context, dst []byte, at pipeline.Slot, v *T) ([]byte, error) {
	return s.Append(ctx, dst, at, *v)
}

// DecodePointer is Decode, likewise.
func (s messageOrNull[T]) DecodePointer(ctx context.Context, at pipeline.Slot, data []byte, v *T) (err error) {
	*v, err = s.Decode(ctx, at, data)
	return err
}

func (s messageOrNull[T]) Append(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error) {
	if m := proto.Message(v); m == nil || !m.ProtoReflect().IsValid() {
		return nil, nil
	}
	return s.framed.Append(ctx, dst, at, v)
}

func (s messageOrNull[T]) Decode(ctx context.Context, at pipeline.Slot, data []byte) (T, error) {
	if data == nil {
		var null T
		return null, nil
	}
	return s.framed.Decode(ctx, at, data)
}
