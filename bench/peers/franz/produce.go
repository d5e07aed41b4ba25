//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/internal/meter"
	"github.com/leat-stream/leat/bench/internal/record"
)

// runProduce writes the benchmark's records, with the client's defaults of all acknowledgements
// and idempotence.
func runProduce(ctx context.Context, o options) error {
	began := time.Now()
	client, err := kgo.NewClient(o.producing(o.topic)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			cancel(err) // the first one is kept
		}
	}
	for id := int64(0); id < o.records && ctx.Err() == nil; id++ {
		key, value := record.Make(uint64(id))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, done)
	}
	flushed := client.Flush(ctx) // without an error, all records have their outcome
	last := time.Now()
	if err := errors.Join(context.Cause(ctx), flushed); err != nil {
		return fmt.Errorf("write to %s: %w", o.topic, err)
	}
	client.Close()
	return meter.Report(os.Stdout, o.records, began, last)
}
