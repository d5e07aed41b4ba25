// Command jsonschema sends JSON that is held against a JSON Schema in a registry: what
// violates it is not taken.
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

const topic = "leat-example-jsonschema"

type order struct {
	ID       string `json:"id"`
	Cents    int64  `json:"cents"`
	Currency string `json:"currency"`
}

func (o order) key() string { return o.ID }

const schema = `{
  "type": "object",
  "properties": {
    "id": {"type": "string", "minLength": 1},
    "cents": {"type": "integer", "minimum": 1},
    "currency": {"enum": ["EUR", "USD"]}
  },
  "required": ["id", "cents", "currency"]
}`

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic})
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

	values := serde.JSONSchema[order](reg, serde.Schema(schema))
	orders := kafka.For(p, topic, values, kafka.KeyOf(order.key, serde.String()))
	if err := orders.Prepare(ctx); err != nil { // registers the schema
		return err
	}
	for _, o := range []order{{"order-1", 9999, "USD"}, {"order-2", -1, "USD"}, {"order-3", 500, "EUR"}} {
		err := orders.Send(ctx, o, nil)
		if violation, ok := errors.AsType[*serde.ViolationError](err); ok {
			fmt.Printf("%s is not taken, %v:\n", o.ID, kafka.ClassOf(err))
			for _, v := range violation.Violations {
				fmt.Printf("  %v violates %s\n", v.Path, v.Rule)
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}

	written, err := c.Read(ctx, topic, 2)
	if err != nil {
		return err
	}
	for _, r := range written {
		o, err := values.Decode(ctx, pipeline.Slot{Topic: topic}, r.Value)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d %s\n", r.Key, o.Cents, o.Currency)
	}
	return nil
}
