package serde_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

type user struct {
	Name string `avro:"name" json:"name"`
	Age  int32  `avro:"age" json:"age"`
}

const userAvsc = `{"type":"record","name":"User","fields":[
	{"name":"name","type":"string"},
	{"name":"age","type":"int","default":-1}]}`

// exampleRegistry is a registry in this process.
func exampleRegistry() (*srfake.Registry, *registry.Client) {
	fake := srfake.New()
	reg, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
	}
	return fake, reg
}

func Example() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	p := pipeline.New("users-as-json")
	users := pipeline.From(p, "users", serde.Avro[user](reg, serde.Schema(userAvsc)))
	pipeline.To(users, "users.json", serde.JSON[user]())
	fmt.Println(p.Validate())
	// Output: <nil>
}

func ExampleBytes() {
	ctx, at := context.Background(), pipeline.Slot{Topic: "t"}
	s := serde.Bytes()
	null, _ := s.Append(ctx, []byte{}, at, nil)
	empty, _ := s.Append(ctx, []byte{}, at, []byte{})
	fmt.Println(null == nil, empty == nil)
	// Output: true false
}

func ExampleString() {
	ctx, at := context.Background(), pipeline.Slot{Topic: "t"}
	_, err := serde.String().Decode(ctx, at, []byte("caf\xe9")) // Latin-1
	fmt.Println(err)
	// Output: decode text: not valid UTF-8
}

func ExampleJSON() {
	ctx, at := context.Background(), pipeline.Slot{Topic: "t"}
	v, err := serde.JSON[user]().Decode(ctx, at, []byte(`{"name":"Ada","age":36,"new":true}`))
	fmt.Println(v, err)
	_, err = serde.JSON[user](serde.DisallowUnknownFields()).Decode(ctx, at, []byte(`{"name":"Ada","new":true}`))
	fmt.Println(err)
	// Output:
	// {Ada 36} <nil>
	// decode json: malformed: a field that the type does not have
}

func ExampleNullable() {
	ctx, at := context.Background(), pipeline.Slot{Topic: "t"}
	s := serde.Nullable(serde.String())
	v, err := s.Decode(ctx, at, nil)
	fmt.Println(v == nil, err)
	// Output: true <nil>
}

func ExampleAvro() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	s := serde.Avro[user](reg, serde.Schema(userAvsc))
	b, err := s.Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Printf("%x %v %v\n", b, err, fake.SubjectExists("users-value"))
	v, err := s.Decode(ctx, at, b)
	fmt.Println(v, err)
	// Output:
	// 00000000010641646148 <nil> true
	// {Ada 36} <nil>
}

// A writer that does not know the age yet.
func ExampleAvro_evolution() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	type first struct {
		Name string `avro:"name"`
	}
	old := serde.Avro[first](reg, serde.Schema(`{"type":"record","name":"User","fields":[{"name":"name","type":"string"}]}`))
	b, _ := old.Append(ctx, []byte{}, at, first{"Ada"})
	v, err := serde.Avro[user](reg, serde.Schema(userAvsc)).Decode(ctx, at, b)
	fmt.Println(v, err)
	// Output: {Ada -1} <nil>
}

// The schema must be there already.
func ExampleAutoRegister() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	s := serde.Avro[user](reg, serde.Schema(userAvsc), serde.AutoRegister(false))
	_, err := s.Append(context.Background(), []byte{}, pipeline.Slot{Topic: "users"}, user{"Ada", 36})
	fmt.Println(errors.Is(err, registry.ErrNotFound), pipeline.IsFatal(err))
	// Output: true true
}

// Strings that point into the record: fewer allocations, longer-lived batches.
func ExampleCodec() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	s := serde.Avro[user](reg, serde.Schema(userAvsc), serde.Codec(serde.Twmb{AliasInput: true}))
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	b, _ := s.Append(ctx, []byte{}, at, user{"Ada", 36})
	fmt.Println(s.Decode(ctx, at, b))
	// Output: {Ada 36} <nil>
}

func ExampleValidator() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	type named struct {
		Name string `avro:"name"`
	}
	s := serde.Avro[named](reg, serde.Schema(userAvsc))
	fmt.Println(s.(serde.Validator).Validate())
	// Output: invalid serde: Avro[serde_test.named]: the Go type does not fit the schema: avro: cannot use serde_test.named with Avro type record: missing field age
}

func ExampleDecodeError() {
	fake, reg := exampleRegistry()
	defer fake.Close()
	s := serde.Avro[user](reg, serde.Schema(userAvsc))
	for _, data := range []string{"", "hello", "\x00\x00\x00\x00\x09\x06Ada"} {
		_, err := s.Decode(context.Background(), pipeline.Slot{Topic: "users"}, []byte(data))
		var d *serde.DecodeError
		fmt.Println(errors.As(err, &d), err)
	}
	// Output:
	// true decode avro: empty: zero bytes, which is not the same as null
	// true decode avro: not in Confluent's wire format (a zero byte, then 4 bytes of schema id)
	// true decode avro (schema id 9): unknown schema id
}
