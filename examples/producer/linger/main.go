// Command linger shows the linger that adapts: it rises while records come in bursts, and
// falls when each record is waited for.
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

const (
	topic = "leat-example-linger"
	most  = 20 * time.Millisecond
)

var record = kafka.Record{Topic: topic, Value: []byte("clicked")}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 3})
	if err != nil {
		return err
	}
	defer c.Stop()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers:  c.Brokers,
		Producer: kafka.ProducerConfig{LingerMax: most}, // and Linger, the lower bound, is none
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	fmt.Println("at the start:", p.Metrics().Linger)

	// Bursts: requests leave side by side that carry little, so waiting pays. It rises until they
	// do no longer, or to LingerMax.
	for p.Metrics().Linger == 0 && ctx.Err() == nil {
		for range 1000 {
			if err := p.Send(ctx, record, nil); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	l := p.Metrics().Linger
	fmt.Println("with bursts it waits:", l > 0 && l <= most)

	// One after the other: however long a batch waits, nothing joins it.
	for p.Metrics().Linger > 0 {
		if _, err := p.SendSync(ctx, record); err != nil {
			return err
		}
	}
	fmt.Println("one by one:", p.Metrics().Linger)
	return p.Flush(ctx)
}
