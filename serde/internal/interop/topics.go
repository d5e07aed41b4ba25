package main

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

type (
	// writer makes one record of a topic.
	writer func(ctx context.Context, topic string) (key, value []byte, err error)
	// reader makes a document of one.
	reader func(ctx context.Context, topic string, r record) (document, error)
)

// topic is what both sides write to a topic of their own, and the ways in which it is read.
type topic struct {
	name  string
	write []writer
	// By name, which is empty where all readers expect the same.
	read map[string]reader
}

// expects is the key of the documents that a reader expects. Readers named after a library's
// other entry, as "any", expect what the plain one does.
func (t topic) expects(reader string) string {
	if reader == "1" || reader == "2" {
		return t.name + "/" + reader
	}
	return t.name
}

func topics(reg *registry.Client, want documents) []topic {
	return concat(plainTopics(want), avroTopics(reg), jsonTopics(reg, want), protobufTopics(reg, want))
}

func concat(lists ...[]topic) (all []topic) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// writes makes a writer of a key and a value and their serdes. A nil one is null.
func writes[K, V any](keys serde.Serde[*K], key *K, values serde.Serde[*V], value *V) writer {
	return func(ctx context.Context, topic string) (k, v []byte, err error) {
		if k, err = keys.Append(ctx, nonNil(key), pipeline.Slot{Topic: topic, Key: true}, key); err != nil {
			return nil, nil, fmt.Errorf("key: %w", err)
		}
		if v, err = values.Append(ctx, nonNil(value), pipeline.Slot{Topic: topic}, value); err != nil {
			return nil, nil, fmt.Errorf("value: %w", err)
		}
		return k, v, nil
	}
}

// nonNil is where an encoding begins that may be empty without being null.
func nonNil[T any](v *T) []byte {
	if v == nil {
		return nil
	}
	return []byte{}
}

// reads makes a reader of serdes and of what makes documents of what they read.
func reads[K, V any](keys serde.Serde[*K], key func(*K) (any, error), values serde.Serde[*V], value func(*V) (any, error)) reader {
	return func(ctx context.Context, topic string, r record) (d document, err error) {
		if d.Key, err = readOne(ctx, keys, key, pipeline.Slot{Topic: topic, Key: true, Headers: &r.headers}, r.key); err != nil {
			return d, fmt.Errorf("key: %w", err)
		}
		if d.Value, err = readOne(ctx, values, value, pipeline.Slot{Topic: topic, Headers: &r.headers}, r.value); err != nil {
			return d, fmt.Errorf("value: %w", err)
		}
		return d, nil
	}
}

func readOne[T any](ctx context.Context, s serde.Serde[*T], doc func(*T) (any, error), at pipeline.Slot, data []byte) (any, error) {
	v, err := s.Decode(ctx, at, data)
	if err != nil || v == nil {
		return nil, err
	}
	made, err := doc(v)
	if err != nil {
		return nil, err
	}
	return plainly(made)
}

// itself is for values that encoding/json makes documents of.
func itself[T any](v *T) (any, error) { return v, nil }

// plainTopics: bytes and null, and empty bytes, which are neither.
func plainTopics(want documents) []topic {
	bytes := serde.Nullable(serde.Bytes())
	t := topic{name: "plain", read: map[string]reader{"": reads(bytes, itself, bytes, itself)}}
	for _, d := range want[t.name] {
		key, value := unquoted(d.Key), unquoted(d.Value)
		t.write = append(t.write, writes(bytes, key, bytes, value))
	}
	return []topic{t}
}
