//go:build real

package kafka_test

import (
	"os"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

type orderKey struct {
	OrderID string `avro:"orderId"`
}

type paidOrder struct {
	ID       string  `avro:"-"`
	Amount   float64 `avro:"amount"`
	Currency string  `avro:"currency"`
}

const (
	orderKeySchema = `{"type":"record","name":"OrderKey","fields":[{"name":"orderId","type":"string"}]}`
	orderSchema    = `{"type":"record","name":"Order","fields":[{"name":"amount","type":"double"},{"name":"currency","type":"string"}]}`
)

// Avro for key and value, registered at the first send, partitioned by the encoded key,
// and decoded with what the real registry says.
func TestRealTypedAvro(t *testing.T) {
	url := os.Getenv("LEAT_TEST_REGISTRY")
	if url == "" {
		t.Fatal("LEAT_TEST_REGISTRY is not set; scripts/test-real sets it")
	}
	c, brokers, topic := realTopic(t, 4, nil)
	p := c.producer(kafka.ProducerSettings{Brokers: brokers})
	front := func(reg *registry.Client, opts ...serde.Option) *kafka.Typed[paidOrder] {
		key := serde.Avro[orderKey](reg, append(opts, serde.Schema(orderKeySchema))...)
		return kafka.For(p, topic, serde.Avro[paidOrder](reg, append(opts, serde.Schema(orderSchema))...),
			kafka.KeyOf(func(o paidOrder) orderKey { return orderKey{o.ID} }, key))
	}
	o := paidOrder{"ORD-12345", 99.99, "USD"}

	// Without the right to register, a subject that has no schema yet is an error; a registry
	// that is down is one that passes. Neither takes the record.
	_, err := front(registryClient(t, url), serde.AutoRegister(false)).SendSync(t.Context(), o)
	wantError(t, err, kafka.ErrEncode, topic)
	if kafka.ClassOf(err) != kafka.Fatal {
		t.Errorf("class %v of %v", kafka.ClassOf(err), err)
	}
	_, err = front(registryClient(t, "http://127.0.0.1:1")).SendSync(t.Context(), o)
	wantError(t, err, registry.ErrUnavailable)
	if kafka.ClassOf(err) != kafka.Retriable {
		t.Errorf("class %v of %v", kafka.ClassOf(err), err)
	}

	r, err := front(registryClient(t, url)).SendSync(t.Context(), o)
	noError(t, err, "send")
	records := c.ReadAll(topic)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	got := records[0]
	if want := kafka.HashKey.Partition(topic, got.Key, nil, 4); r.Partition != want || got.Partition != want {
		t.Errorf("partition %d, want %d", r.Partition, want)
	}
	other := registryClient(t, url) // one that has registered nothing
	k, err := serde.Avro[orderKey](other, serde.Schema(orderKeySchema)).Decode(t.Context(), pipeline.Slot{Topic: topic, Key: true}, got.Key)
	noError(t, err, "decode the key")
	v, err := serde.Avro[paidOrder](other, serde.Schema(orderSchema)).Decode(t.Context(), pipeline.Slot{Topic: topic}, got.Value)
	noError(t, err, "decode the value")
	if k.OrderID != o.ID || v.Amount != o.Amount || v.Currency != o.Currency {
		t.Errorf("%+v %+v", k, v)
	}
	for _, subject := range []string{topic + "-key", topic + "-value"} {
		schema := map[bool]string{true: orderKeySchema, false: orderSchema}[subject == topic+"-key"]
		if _, err := other.Lookup(t.Context(), subject, registry.Schema{Text: schema}); err != nil {
			t.Errorf("subject %s: %v", subject, err)
		}
	}
}
