package pipelinetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
)

// Message is a record to feed: made by [Text], [Bytes], [Value], [Entry] or
// [Tombstone], and refined by its methods, which return a copy.
type Message struct {
	raw    pipeline.Raw
	placed bool // raw.Origin.Partition is set
	encode func(ctx context.Context, topic string, r *pipeline.Raw) error
}

// Text is a message of a key and a value as they stand.
func Text(key, value string) Message { return Bytes([]byte(key), []byte(value)) }

// Bytes is a message of a key and a value as they stand; nil is null.
func Bytes(key, value []byte) Message {
	return Message{raw: pipeline.Raw{Key: key, Value: value}}
}

// Value is a message without a key, its value encoded by serde when it is fed.
func Value[T any](serde pipeline.Serde[T], value T) Message {
	return Message{encode: func(ctx context.Context, topic string, r *pipeline.Raw) (err error) {
		r.Value, err = serde.Append(ctx, []byte{}, pipeline.Slot{Topic: topic, Headers: &r.Headers}, value)
		return err
	}}
}

// Entry is a message of a key and a value, each encoded by its serde when it is
// fed: an entry of a table, for instance.
func Entry[K, V any](keys pipeline.Serde[K], key K, values pipeline.Serde[V], value V) Message {
	m := Value(values, value)
	encodeValue := m.encode
	m.encode = func(ctx context.Context, topic string, r *pipeline.Raw) error {
		if err := encodeKey(ctx, keys, topic, key, r); err != nil {
			return err
		}
		return encodeValue(ctx, topic, r)
	}
	return m
}

// Tombstone is a message of a key and a null value: in a table it deletes.
func Tombstone[K any](keys pipeline.Serde[K], key K) Message {
	return Message{encode: func(ctx context.Context, topic string, r *pipeline.Raw) error {
		return encodeKey(ctx, keys, topic, key, r)
	}}
}

func encodeKey[K any](ctx context.Context, keys pipeline.Serde[K], topic string, key K, r *pipeline.Raw) (err error) {
	r.Key, err = keys.Append(ctx, []byte{}, pipeline.Slot{Topic: topic, Key: true, Headers: &r.Headers}, key)
	return err
}

// Key returns the message with a key.
func (m Message) Key(key string) Message {
	m.raw.Key = []byte(key)
	return m
}

// Header returns the message with one header more.
func (m Message) Header(key, value string) Message {
	m.raw.Headers = m.raw.Headers.Add(key, []byte(value))
	return m
}

// At returns the message with a timestamp, cut to Kafka's milliseconds. Without
// one it is the time at which the message is fed.
func (m Message) At(t time.Time) Message {
	m.raw.Timestamp = time.UnixMilli(t.UnixMilli())
	return m
}

// On returns the message for a partition. Without one it goes where a producer
// would put it: by murmur2 of the key, or, without a key, round about.
func (m Message) On(partition int32) Message {
	m.raw.Origin.Partition, m.placed = partition, true
	return m
}

// Feed appends messages to a topic, an input or a table, outside any transaction.
// It may be called before and while pipelines run. It panics if the topic or the
// partition does not exist or a value cannot be encoded: that is a mistake in the
// test.
func (c *Cluster) Feed(topic string, messages ...Message) {
	t := c.topic(topic)
	raws := make([]pipeline.Raw, len(messages))
	for i, m := range messages {
		r := m.raw
		r.Headers = slices.Clone(r.Headers)
		if m.encode != nil {
			if err := m.encode(context.Background(), topic, &r); err != nil {
				panic(fmt.Sprintf("pipelinetest: message %d for topic %q: %v", i, topic, err))
			}
			if m.raw.Key != nil {
				r.Key = m.raw.Key
			}
		}
		if r.Timestamp.IsZero() {
			r.Timestamp = time.UnixMilli(time.Now().UnixMilli())
		}
		raws[i] = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range raws {
		part := r.Origin.Partition
		switch {
		case messages[i].placed:
		case r.Key != nil:
			part = murmur2.Partition(r.Key, t.Partitions)
		default:
			part = int32(t.fed() % int64(t.Partitions))
		}
		if part < 0 || part >= t.Partitions {
			panic(fmt.Sprintf("pipelinetest: topic %q has no partition %d, only %d", topic, part, t.Partitions))
		}
		t.partitions[part].append(entry{Raw: r})
	}
	c.broadcast()
}

// fed is the number of offsets that the topic has given out.
func (l *topicLog) fed() (n int64) {
	for _, p := range l.partitions {
		n += p.end()
	}
	return n
}
