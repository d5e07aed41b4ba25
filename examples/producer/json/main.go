// Command json sends JSON and checks it before the send: an interceptor cannot, since a
// record is sent also if one fails. For a schema instead of a function see ../jsonschema.
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
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-json"

type order struct {
	ID       string `json:"id"`
	Cents    int64  `json:"cents"`
	Currency string `json:"currency"`
}

func (o order) key() string { return o.ID }

// validate reports everything that is wrong.
func (o order) validate() error {
	var bad []error
	if o.ID == "" {
		bad = append(bad, errors.New("no id"))
	}
	if o.Cents <= 0 {
		bad = append(bad, fmt.Errorf("%d cents", o.Cents))
	}
	if len(o.Currency) != 3 {
		bad = append(bad, fmt.Errorf("currency %q", o.Currency))
	}
	return errors.Join(bad...)
}

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
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	orders := kafka.For(p, topic, serde.JSON[order](),
		kafka.KeyOf(order.key, serde.String()),
		kafka.HeadersOf(func(order) pipeline.Headers { return contentType }))
	for _, o := range []order{{"order-1", 9999, "USD"}, {"order-2", -1, "dollars"}, {"order-3", 500, "EUR"}} {
		if err := o.validate(); err != nil {
			fmt.Printf("%s is not sent:\n%v\n", o.ID, err)
			continue
		}
		if err := orders.Send(ctx, o, nil); err != nil {
			return err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}

	written, err := c.Read(ctx, topic, 2)
	for _, r := range written {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	return err
}

var contentType = pipeline.Headers{kafka.ContentTypeHeader("application/json")}
