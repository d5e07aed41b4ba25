// Command idempotence shows what the default covers, retries of the producer's own, what
// it does not, and which settings contradict it.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-idempotence"

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

	// Idempotent without a setting: AcksAll, retries until DeliveryTimeout, at most five
	// requests in flight. The broker numbers this producer and remembers its last five
	// batches of each partition, so that a retry is neither a double nor out of order.
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	// A record that is sent again is another record, also if it is the same: it has a new
	// number. So do not send again what may be there; a transaction (see ../transactions)
	// is for what must be there once.
	order := kafka.Record{Topic: topic, Key: []byte("order-1"), Value: []byte("{}")}
	for range 2 {
		r, err := p.SendSync(ctx, order)
		if err != nil {
			return err
		}
		fmt.Println("offset", r.Offset)
	}
	written, err := c.Read(ctx, topic, 2)
	if err != nil {
		return err
	}
	fmt.Println("records:", len(written))

	// What would break it is refused, not adjusted.
	for _, s := range []kafka.ProducerSettings{
		{Producer: kafka.ProducerConfig{Idempotence: kafka.IdempotenceOn, Acks: kafka.AcksLeader}},
		{Producer: kafka.ProducerConfig{MaxInFlight: 6}},
		{TransactionalID: "billing-1", Producer: kafka.ProducerConfig{Acks: kafka.AcksLeader}},
		{TransactionalID: "billing-1", Producer: kafka.ProducerConfig{Idempotence: kafka.IdempotenceOff}},
	} {
		s.Brokers = c.Brokers
		fmt.Println(s.Validate())
	}
	return nil
}
