package kafka_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

func TestTyped(t *testing.T) {
	t.Parallel()
	c := out(t, 4)
	p := c.producer(kafka.ProducerSettings{})
	at := time.UnixMilli(1_700_000_000_000)
	customers := kafka.For(p, "out", serde.JSON[customer](),
		kafka.KeyOf(customer.id, serde.String()),
		kafka.HeadersOf(func(customer) pipeline.Headers { return pipeline.Headers{kafka.ContentTypeHeader("application/json")} }),
		kafka.TimestampOf(func(customer) time.Time { return at }),
	)
	noError(t, customers.Prepare(t.Context()), "prepare")
	r, err := customers.SendSync(t.Context(), customer{"customer-42", 7})
	noError(t, err, "send")
	if want := kafka.HashKey.Partition("out", []byte("customer-42"), nil, 4); r.Partition != want {
		t.Errorf("partition %d, want %d", r.Partition, want)
	}
	got := c.ReadAll("out")[0]
	if string(got.Key) != "customer-42" || string(got.Value) != `{"ID":"customer-42","Points":7}` || !got.Timestamp.Equal(at) || string(got.Headers[0].Value) != "application/json" {
		t.Errorf("%q %q %v %v", got.Key, got.Value, got.Timestamp, got.Headers)
	}
}

// A partitioner sees the serialized key and value; a view and a null are sent as such.
func TestTypedPartitionerSeesBytes(t *testing.T) {
	t.Parallel()
	c := out(t, 4)
	p := c.producer(kafka.ProducerSettings{})
	seen := &journal[string]{}
	by := kafka.PartitionFunc(func(_ string, key, value []byte, n int32) (int32, error) {
		seen.add(string(key) + "=" + string(value))
		return n - 1, nil
	})
	raw := kafka.For(p, "out", serde.Bytes(), kafka.KeyOf(func(b []byte) string { return string(b[:1]) }, serde.String()), kafka.PartitionBy[[]byte](by))
	r, err := raw.SendSync(t.Context(), []byte("abc"))
	noError(t, err, "send")
	same(t, "seen", seen.list(), []string{"a=abc"})
	if r.Partition != 3 {
		t.Errorf("partition %d", r.Partition)
	}
	f, err := kafka.For(p, "out", serde.Bytes()).SendFuture(t.Context(), nil)
	noError(t, err, "send null")
	_, err = f.Wait(t.Context())
	noError(t, err, "wait")
	for _, r := range c.ReadAll("out") {
		if r.Key == nil != (r.Value == nil) {
			t.Errorf("key %v, value %v", r.Key, r.Value)
		}
	}
}

// A partition may be chosen by the value that is sent, under the same rules.
func TestTypedPartitionOf(t *testing.T) {
	t.Parallel()
	c := out(t, 4)
	p := c.producer(kafka.ProducerSettings{Partitioner: kafka.ToPartition(0)})
	byPoints := kafka.For(p, "out", serde.JSON[customer](), kafka.PartitionOf(func(c customer, n int32) (int32, error) {
		if c.Points < 0 {
			return 0, errRegion
		}
		return int32(c.Points), nil
	}))
	r, err := byPoints.SendSync(t.Context(), customer{"a", 3})
	noError(t, err, "send")
	if r.Partition != 3 {
		t.Errorf("partition %d, want 3", r.Partition)
	}
	wantError(t, byPoints.Send(t.Context(), customer{"a", 4}, nil), kafka.ErrPartition, "chose 4")
	wantError(t, byPoints.Send(t.Context(), customer{"a", -1}, nil), errRegion, "out")
}

type failingSerde struct{ err error }

func (f failingSerde) Append(context.Context, []byte, pipeline.Slot, string) ([]byte, error) {
	return nil, f.err
}

func (f failingSerde) Decode(context.Context, pipeline.Slot, []byte) (string, error) {
	return "", f.err
}

func (f failingSerde) Prepare(context.Context, pipeline.Slot, bool) error { return f.err }

// An encoding that fails is the record's fault, unless the serde says otherwise.
func TestTypedEncodingFails(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	counter := &kafka.ErrorCounter{}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{counter}})
	cause := errors.New("registry is down")
	for class, err := range map[kafka.Class]error{kafka.RecordFault: cause, kafka.Retriable: pipeline.Retriable(cause), kafka.Fatal: pipeline.Fatal(cause)} {
		asValue := kafka.For(p, "out", pipeline.Serde[string](failingSerde{err}))
		asKey := kafka.For(p, "out", serde.String(), kafka.KeyOf(strings.ToUpper, pipeline.Serde[string](failingSerde{err})))
		for says, front := range map[string]*kafka.Typed[string]{"value": asValue, "key": asKey} {
			got := front.Send(t.Context(), "secret", nil)
			wantError(t, got, kafka.ErrEncode, says, "out")
			if !errors.Is(got, cause) || kafka.ClassOf(got) != class {
				t.Errorf("%v has class %v, want %v", got, kafka.ClassOf(got), class)
			}
			wantError(t, front.Prepare(t.Context()), cause, says)
		}
	}
	if n := counter.Count("out"); n != 6 {
		t.Errorf("the interceptor counts %d errors, want 6", n)
	}
}
