package hamba_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/hamba"
	"github.com/leat-stream/leat/serde/registry"
)

func ExampleCodec() {
	fake := srfake.New() // a registry in this process
	defer fake.Close()
	reg, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	type user struct {
		Name string `avro:"name"`
	}
	const avsc = `{"type":"record","name":"User","fields":[{"name":"name","type":"string"}]}`
	s := serde.Avro[user](reg, serde.Schema(avsc), serde.Codec(hamba.Codec{}))
	ctx, at := context.Background(), pipeline.Slot{Topic: "users"}
	b, _ := s.Append(ctx, []byte{}, at, user{"Ada"})
	fmt.Println(s.Decode(ctx, at, b))
	_, err = s.Decode(ctx, at, b[:len(b)-1])
	fmt.Println(err)
	// Output:
	// {Ada} <nil>
	// decode avro (schema id 1): malformed: string: the bytes end too early, at byte 1
}
