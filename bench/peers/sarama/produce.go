//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/bench/internal/meter"
	"github.com/leat-stream/leat/bench/internal/record"
)

// runProduce writes the benchmark's records with an AsyncProducer. Only failures are reported to
// it, which is faster: that all was written is known when the producer has closed without one.
func runProduce(ctx context.Context, o options) error {
	began := time.Now()
	p, err := sarama.NewAsyncProducer(o.brokers, producing())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for err := range p.Errors() {
			cancel(err.Err) // the first one is kept
		}
	}()
	for id := int64(0); id < o.records && ctx.Err() == nil; id++ {
		key, value := record.Make(uint64(id))
		p.Input() <- &sarama.ProducerMessage{Topic: o.topic, Key: sarama.ByteEncoder(key), Value: sarama.ByteEncoder(value)}
	}
	p.AsyncClose()
	<-drained
	last := time.Now()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("write to %s: %w", o.topic, err)
	}
	return meter.Report(os.Stdout, o.records, began, last)
}
