package serde_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// The schema is derived from the type unless one is given. What violates it is refused,
// and the error says where, but not what.
func ExampleJSONSchema() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	s := serde.JSONSchema[user](reg, serde.Schema(`{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0}}}`))
	b, err := s.Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Printf("% x %s %v\n", b[:5], b[5:], err)
	v, err := s.Decode(ctx, at, b)
	fmt.Println(v, err)
	_, err = s.Append(ctx, []byte{}, at, user{"Ada", -1})
	fmt.Println(err)
	// Output:
	// 00 00 00 00 01 {"name":"Ada","age":36} <nil>
	// {Ada 36} <nil>
	// encode jsonschema: /age violates #/properties/age/minimum
}

func ExampleViolationError() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	s := serde.JSONSchema[user](reg)
	_, err := s.Append(context.Background(), []byte{}, pipeline.Slot{Topic: "users"}, user{"Ada", 36})
	fmt.Println(err)
	_, err = s.Decode(context.Background(), pipeline.Slot{Topic: "users"}, []byte("\x00\x00\x00\x00\x01{\"name\":7,\"age\":1.5}"))
	var v *serde.ViolationError
	fmt.Println(errors.As(err, &v), errors.Is(err, serde.ErrInvalidValue), len(v.Violations))
	// Output:
	// <nil>
	// true true 2
}

// The schema is the message's own file; generated types have it with them.
func ExampleProtobuf() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "names"}
	s := serde.Protobuf[*wrapperspb.StringValue](reg)
	b, err := s.Append(ctx, []byte{}, at, wrapperspb.String("Ada"))
	fmt.Printf("% x %v\n", b[:5], err)
	v, err := s.Decode(ctx, at, b)
	fmt.Println(v.GetValue(), err)
	// Output:
	// 00 00 00 00 01 <nil>
	// Ada <nil>
}

// Any message of the schemas in a topic.
func ExampleProtobufAny() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "names"}
	b, err := serde.Protobuf[*wrapperspb.Int64Value](reg).Append(ctx, []byte{}, at, wrapperspb.Int64(1<<60))
	fmt.Println(err)
	var m proto.Message
	m, err = serde.ProtobufAny(reg).Decode(ctx, at, b)
	fmt.Println(m.ProtoReflect().Descriptor().FullName(), protojson.Format(m), err)
	// Output:
	// <nil>
	// google.protobuf.Int64Value "1152921504606846976" <nil>
}

// Whatever the writer's schema.
func ExampleAvroAny() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	b, _ := serde.Avro[user](reg, serde.Schema(userAvsc)).Append(ctx, []byte{}, at, user{"Ada", 36})
	v, err := serde.AvroAny(reg).Decode(ctx, at, b)
	fmt.Println(v, err)
	// Output: map[age:36 name:Ada] <nil>
}

// The bytes are the datum alone; readers of Leat know both forms.
func ExampleInHeader() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	var headers pipeline.Headers
	ctx, at := context.Background(), pipeline.Slot{Topic: "users", Headers: &headers}
	b, err := serde.Avro[user](reg, serde.Schema(userAvsc), serde.InHeader()).Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Printf("%x %v\n", b, err)
	h, ok := headers.Get(serde.HeaderValueSchemaID)
	fmt.Println(len(h), h[0], ok)
	fmt.Println(serde.Avro[user](reg, serde.Schema(userAvsc)).Decode(ctx, at, b))
	// Output:
	// 0641646148 <nil>
	// 17 1 true
	// {Ada 36} <nil>
}

// Somebody else decides what the topic's schema is; the type must fit it.
func ExampleUseLatest() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	s := serde.Avro[user](reg, serde.UseLatest())
	_, err := s.Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Println(errors.Is(err, registry.ErrNotFound))
	id, err := reg.Register(ctx, "users-value", registry.Schema{Type: registry.Avro, Text: userAvsc})
	fmt.Println(id, err)
	b, err := s.Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Printf("%x %v\n", b, err)
	// Output:
	// true
	// 1 <nil>
	// 00000000010641646148 <nil>
}

func ExampleUseID() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	id, err := reg.Register(ctx, "agreed-upon", registry.Schema{Type: registry.Avro, Text: userAvsc})
	fmt.Println(id, err)
	b, err := serde.Avro[user](reg, serde.UseID(id)).Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Printf("%x %v\n", b, err)
	// Output:
	// 1 <nil>
	// 00000000010641646148 <nil>
}

// A type that several topics share stands under a subject of its own.
func ExampleReferences() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	type team struct {
		Lead user `avro:"lead"`
	}
	lead := registry.Reference{Name: "User", Subject: "User", Text: userAvsc}
	s := serde.Avro[team](reg, serde.References(lead), serde.Schema(`{"type":"record","name":"Team","fields":[{"name":"lead","type":"User"}]}`))
	_, err := s.Append(context.Background(), []byte{}, pipeline.Slot{Topic: "teams"}, team{user{"Ada", 36}})
	fmt.Println(err)
	got, err := reg.Latest(context.Background(), "teams-value")
	fmt.Println(got.ID, got.References[0].Name, got.References[0].Version, fake.SubjectExists("User"), err)
	// Output:
	// <nil>
	// 2 User 1 true <nil>
}

// What cannot follow is refused before the first record, with the registry's reasons. The
// registry in this process takes anything, so that it is told what to answer.
func ExampleCheckCompatibility() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/compatibility/") {
			return false
		}
		fmt.Fprint(w, `{"is_compatible":false,"messages":["the field age has no default"]}`)
		return true
	})
	s := serde.Avro[user](reg, serde.Schema(userAvsc), serde.CheckCompatibility())
	err := s.(pipeline.Preparer).Prepare(context.Background(), pipeline.Slot{Topic: "users"}, true)
	var refused *registry.Error
	fmt.Println(errors.As(err, &refused), errors.Is(err, registry.ErrIncompatible), pipeline.IsFatal(err))
	fmt.Println(refused.Reasons)
	// Output:
	// true true true
	// [the field age has no default]
}

// One subject for each type, so that a topic may hold several.
func ExampleSubject() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	s := serde.Avro[user](reg, serde.Schema(userAvsc), serde.Subject(serde.TopicRecordName))
	_, err := s.Append(context.Background(), []byte{}, pipeline.Slot{Topic: "events"}, user{"Ada", 36})
	fmt.Println(fake.SubjectExists("events-User"), err)
	// Output: true <nil>
}

// The schema a record names, before anybody decodes it.
func ExampleWriterOf() {
	at := pipeline.Slot{Topic: "users"}
	for _, data := range []string{"\x00\x00\x00\x00\x07\x06Ada", "hello", ""} {
		w, err := serde.WriterOf(at, []byte(data))
		fmt.Println(w.ID, err)
	}
	// Output:
	// 7 <nil>
	// 0 not in Confluent's wire format (a zero byte, then 4 bytes of schema id)
	// 0 empty: zero bytes, which is not the same as null
}

func ExampleMessageOrNull() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "names"}
	s := serde.Protobuf[*wrapperspb.StringValue](reg, serde.MessageOrNull())
	b, err := s.Append(ctx, []byte{}, at, nil)
	fmt.Println(b == nil, err)
	// Output: true <nil>
}
