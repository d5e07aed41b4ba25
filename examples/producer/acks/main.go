// Command acks sends with each kind of acknowledgement, and shows what the first one
// costs: a record that the broker refuses is lost without an error.
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

const topic = "leat-example-acks"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Config: map[string]string{"max.message.bytes": "10000"}})
	if err != nil {
		return err
	}
	defer c.Stop()

	for _, acks := range []kafka.Acks{kafka.AcksNone, kafka.AcksLeader, kafka.AcksAll} {
		r, err := send(ctx, c.Brokers, acks, []byte("cpu 92.5"))
		if err != nil {
			return err
		}
		fmt.Printf("acks=%v: offset known: %v\n", acks, r.Offset >= 0)
	}

	large := make([]byte, 20_000) // more than the topic takes
	_, err = send(ctx, c.Brokers, kafka.AcksNone, large)
	fmt.Println("too large, acks=0: error:", err)
	_, err = send(ctx, c.Brokers, kafka.AcksAll, large)
	fmt.Println("too large, acks=all: error:", err)

	written, err := c.Read(ctx, topic, 3)
	if err != nil {
		return err
	}
	fmt.Println("records in the topic:", len(written))

	// Without every replica's acknowledgement the broker cannot drop doubles: idempotence
	// is off then, and to insist on it is a mistake.
	fmt.Println(kafka.ProducerSettings{
		Brokers:  c.Brokers,
		Producer: kafka.ProducerConfig{Acks: kafka.AcksLeader, Idempotence: kafka.IdempotenceOn},
	}.Validate())
	return nil
}

func send(ctx context.Context, brokers []string, acks kafka.Acks, value []byte) (kafka.Result, error) {
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers,
		// AcksAll is the default. How many replicas that are is the topic's
		// min.insync.replicas: 2 of 3 in production.
		Producer: kafka.ProducerConfig{Acks: acks, Compression: kafka.NoCompression},
	})
	if err != nil {
		return kafka.Result{}, err
	}
	defer p.Close(ctx)
	return p.SendSync(ctx, kafka.Record{Topic: topic, Value: value})
}
