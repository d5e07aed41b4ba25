package main

import (
	"context"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	v1 "github.com/leat-stream/leat/serde/internal/interop/pb/v1"
	v2 "github.com/leat-stream/leat/serde/internal/interop/pb/v2"
	"github.com/leat-stream/leat/serde/internal/testpb"
	"github.com/leat-stream/leat/serde/registry"
)

// Apicurio does not turn text into the descriptor that the Python client asks for.
func protobufOf[T proto.Message](reg *registry.Client) serde.Serde[T] {
	return serde.Protobuf[T](reg, serde.AsDescriptor(), serde.MessageOrNull())
}

// messageOf makes a message of a document; nil of null.
func messageOf[T proto.Message](doc any) T {
	var m T
	if doc == nil {
		return m
	}
	m, _ = m.ProtoReflect().Type().New().Interface().(T)
	data, err := json.Marshal(doc)
	if err == nil {
		err = protojson.Unmarshal(data, m)
	}
	if err != nil {
		panic(err) // what is expected is part of the program
	}
	return m
}

// protobufDocument is a message as every implementation prints it.
func protobufDocument(m proto.Message) (doc any, err error) {
	if m == nil || !m.ProtoReflect().IsValid() {
		return nil, nil
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return doc, parse(data, &doc)
}

func writesMessages[K, V proto.Message](keys serde.Serde[K], key any, values serde.Serde[V], value any) writer {
	return func(ctx context.Context, topic string) (k, v []byte, err error) {
		if k, err = keys.Append(ctx, nil, pipeline.Slot{Topic: topic, Key: true}, messageOf[K](key)); err != nil {
			return nil, nil, err
		}
		v, err = values.Append(ctx, nil, pipeline.Slot{Topic: topic}, messageOf[V](value))
		return k, v, err
	}
}

func readsMessages[K, V proto.Message](keys serde.Serde[K], values serde.Serde[V]) reader {
	return func(ctx context.Context, topic string, r record) (d document, err error) {
		k, err := keys.Decode(ctx, pipeline.Slot{Topic: topic, Key: true, Headers: &r.headers}, r.key)
		if err != nil {
			return d, err
		}
		v, err := values.Decode(ctx, pipeline.Slot{Topic: topic, Headers: &r.headers}, r.value)
		if err != nil {
			return d, err
		}
		if d.Key, err = protobufDocument(k); err == nil {
			d.Value, err = protobufDocument(v)
		}
		return d, err
	}
}

func protobufTopics(reg *registry.Client, want documents) []topic {
	headers := protobufOf[*testpb.Header](reg)
	anything := serde.ProtobufAny(reg, serde.MessageOrNull())
	all := messageTopic("protobuf", want, headers, protobufOf[*testpb.Order](reg))
	all.read["any"] = readsMessages(anything, anything)
	nested := messageTopic("protobuf-nested", want, protobufOf[*testpb.Order_Line](reg), protobufOf[*testpb.Order_Line_Discount](reg))
	nested.read["any"] = readsMessages(anything, anything)

	one, two := protobufOf[*v1.Visit](reg), protobufOf[*v2.Visit](reg)
	// Each version has a subject of its own: Apicurio cannot compare descriptors.
	older := topic{name: "protobuf-older", write: []writer{writesMessages(headers, nil, one, want["protobuf-older/written"][0].Value)}, read: map[string]reader{"": readsMessages(headers, two)}}
	newer := topic{name: "protobuf-newer", write: []writer{writesMessages(headers, nil, two, want["protobuf-newer/written"][0].Value)}, read: map[string]reader{"": readsMessages(headers, one)}}
	return []topic{all, nested, older, newer}
}

func messageTopic[K, V proto.Message](name string, want documents, keys serde.Serde[K], values serde.Serde[V]) topic {
	t := topic{name: name, read: map[string]reader{"": readsMessages(keys, values)}}
	for _, d := range want[name] {
		t.write = append(t.write, writesMessages(keys, d.Key, values, d.Value))
	}
	return t
}
