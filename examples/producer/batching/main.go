// Command batching shows what seals a batch, its size or its linger, and what the
// presets Throughput and LowLatency make of it.
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

const topic = "leat-example-batching"

var record = kafka.Record{Topic: topic, Key: []byte("customer-7"), Value: make([]byte, 100)}

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

	if err := bySize(ctx, c.Brokers); err != nil {
		return err
	}
	if err := byLinger(ctx, c.Brokers); err != nil {
		return err
	}
	return atOnce(ctx, c.Brokers)
}

// bySize: with enough records, batches are full before Linger is over.
func bySize(ctx context.Context, brokers []string) error {
	cfg := kafka.Throughput()
	fmt.Printf("Throughput: batches of %d bytes, linger %v, buffer %d\n", cfg.BatchSize, cfg.Linger, cfg.BufferMemory)
	cfg.Linger = time.Minute // for figures that do not depend on this machine's speed
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	before := p.Metrics()
	for range 1000 {
		if err := p.Send(ctx, record, nil); err != nil {
			return err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}
	report(p.Metrics().Since(before), cfg)
	return nil
}

// byLinger: a record that stays alone goes when Linger is over.
func byLinger(ctx context.Context, brokers []string) error {
	cfg := kafka.Throughput()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	r, err := p.SendSync(ctx, record)
	fmt.Printf("  one record alone waited for Linger: %v\n", r.Latency >= cfg.Linger)
	return err
}

// atOnce: nothing waits, and so nothing is batched, unless records come faster than the
// broker answers.
func atOnce(ctx context.Context, brokers []string) error {
	cfg := kafka.LowLatency()
	fmt.Printf("LowLatency: batches of %d bytes, no linger: %v, acks=%v\n", cfg.BatchSize, cfg.Linger == kafka.NoLinger, cfg.Acks)
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	before := p.Metrics()
	for range 100 {
		if _, err := p.SendSync(ctx, record); err != nil {
			return err
		}
	}
	report(p.Metrics().Since(before), cfg)
	return nil
}

// report says what to look at. Batches far below BatchSize: a longer Linger makes larger
// ones. One record a request: nothing is batched.
func report(r kafka.Rates, cfg kafka.ProducerConfig) {
	fmt.Printf("  records per request: %.0f, batches at least half full: %v\n", r.RecordsPerRequestAvg, r.BatchSizeAvg > float64(cfg.BatchSize)/2)
}
