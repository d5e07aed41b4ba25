// Command durable is a producer for production: the preset Durable, and what to watch.
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

const topic = "leat-example-durable"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// In production: three replicas, and min.insync.replicas=2.
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 3})
	if err != nil {
		return err
	}
	defer c.Stop()

	cfg := kafka.Durable() // a value: look at it, change it
	fmt.Println("acks:", cfg.Acks)
	fmt.Println("enable.idempotence:", cfg.Idempotence == kafka.IdempotenceOn)
	fmt.Println("max.in.flight.requests.per.connection:", cfg.MaxInFlight)
	fmt.Println("retries: until delivery.timeout.ms:", cfg.DeliveryTimeout)
	fmt.Println("request.timeout.ms:", cfg.RequestTimeout)
	fmt.Println("retry.backoff.ms:", cfg.RetryBackoff)
	fmt.Println("batch.size:", cfg.BatchSize)
	fmt.Println("linger.ms:", cfg.Linger)
	fmt.Println("compression.type is lz4:", cfg.Compression == kafka.LZ4)
	fmt.Println("buffer.memory:", cfg.BufferMemory)
	fmt.Println("max.block.ms:", cfg.MaxBlock)

	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers, ClientID: "billing", Producer: cfg})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	before := p.Metrics()
	for i := range 10_000 {
		err := p.Send(ctx, kafka.Record{Topic: topic, Key: fmt.Appendf(nil, "order-%d", i), Value: make([]byte, 200)}, nil)
		if err != nil {
			return err
		}
	}
	if err := p.Flush(ctx); err != nil { // not one was lost
		return err
	}

	// Every so often: what happened since.
	m := p.Metrics()
	rates := m.Since(before)
	fmt.Println("record-send-rate above 0:", rates.RecordSendRate > 0)
	fmt.Println("record-error-rate:", rates.RecordErrorRate)
	fmt.Println("batch-size-avg within batch.size:", rates.BatchSizeAvg > 0 && rates.BatchSizeAvg <= float64(cfg.BatchSize))
	fmt.Println("records-per-request-avg above 1:", rates.RecordsPerRequestAvg > 1)
	fmt.Println("request-latency-avg above 0:", rates.RequestLatencyAvg > 0, "p99 below 30 s:", p.RequestLatency(0.99) < cfg.RequestTimeout)
	fmt.Println("produce-throttle-time-avg:", rates.ThrottleTimeAvg)
	fmt.Printf("buffer-available-bytes: %d of %d\n", m.BufferAvailable, m.BufferTotal)
	written, err := c.Read(ctx, topic, 10_000)
	fmt.Println("records in the topic:", len(written))
	return err
}
