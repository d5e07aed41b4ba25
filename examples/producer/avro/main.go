// Command avro sends keys and values of its own types, in Avro with a schema registry.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-avro"

type orderKey struct {
	OrderID string `avro:"orderId"`
}

type order struct {
	ID       string  `avro:"-"`
	Amount   float64 `avro:"amount"`
	Currency string  `avro:"currency"`
}

func (o order) key() orderKey { return orderKey{o.ID} }

const (
	keySchema   = `{"type":"record","name":"OrderKey","fields":[{"name":"orderId","type":"string"}]}`
	valueSchema = `{"type":"record","name":"Order","fields":[{"name":"amount","type":"double"},{"name":"currency","type":"string"}]}`
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 4})
	if err != nil {
		return err
	}
	defer c.Stop()
	if c.Registry == "" {
		return errors.New("with -brokers, this example needs -registry")
	}
	reg, err := registry.New(registry.Config{URLs: []string{c.Registry}})
	if err != nil {
		return err
	}
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	keys := serde.Avro[orderKey](reg, serde.Schema(keySchema))
	values := serde.Avro[order](reg, serde.Schema(valueSchema))
	orders := kafka.For(p, topic, values, kafka.KeyOf(order.key, keys))
	// The schemas are registered now, as leat-example-avro-key and -value, so that a
	// registry that is down or refuses them shows before the first record.
	if err := orders.Prepare(ctx); err != nil {
		return err
	}
	if _, err := orders.SendSync(ctx, order{ID: "ORD-12345", Amount: 99.99, Currency: "USD"}); err != nil {
		return err
	}

	written, err := c.Read(ctx, topic, 1)
	if err != nil {
		return err
	}
	r := written[0]
	fmt.Println("a zero byte, and the schema's id in four:", r.Value[0] == 0, len(r.Value)-5, "bytes of Avro behind them")
	k, err := keys.Decode(ctx, pipeline.Slot{Topic: topic, Key: true}, r.Key)
	if err != nil {
		return err
	}
	v, err := values.Decode(ctx, pipeline.Slot{Topic: topic}, r.Value)
	fmt.Println(k.OrderID, v.Amount, v.Currency)
	return err
}
