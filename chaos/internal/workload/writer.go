package workload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Writer writes a workload's input: idempotent, acknowledged by all replicas, each
// input tried again until it is written or the context ends.
type Writer struct {
	Brokers []string
	Topic   string
	Generator
	// Rate is in inputs per second; 0 is as many as go.
	Rate float64
	// More, if not nil, is asked whether to go on when all are written, again and again.
	// It goes on at a twentieth of the rate, so that there is something to do but never
	// much to catch up with.
	More func() bool

	written atomic.Int64
	grown   atomic.Int32
}

// Written is the number of inputs that are acknowledged. It may be called at any time.
func (w *Writer) Written() int64 { return w.written.Load() }

// Grow has the writer use that many partitions, which the topic has got by now, as soon
// as its client knows of them, within seconds. Keys move to other partitions then. It
// may be called at any time.
func (w *Writer) Grow(partitions int32) { w.grown.Store(partitions) }

// Write writes the inputs from..to-1 and returns when all are acknowledged, or with
// the first error.
func (w *Writer) Write(ctx context.Context, from, to uint64) error {
	if err := w.Validate(); err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(w.Brokers...), kgo.ClientID("chaos-writer"), kgo.AlwaysRetryEOF(), kgo.DefaultProduceTopic(w.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedBytes(32<<20), kgo.UnknownTopicRetries(-1),
		kgo.MetadataMinAge(time.Second), kgo.MetadataMaxAge(2*time.Second), // for new partitions
	)
	if err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			cancel(err) // the first one is kept
			return
		}
		w.written.Add(1)
	}
	began := time.Now()
	g := w.Generator
	for n := from; (n < to || w.More != nil && w.More()) && ctx.Err() == nil; n++ {
		w.pace(ctx, began, float64(min(n, to)-from)+20*float64(n-min(n, to)))
		if grown := w.grown.Load(); grown > g.Partitions && known(client, w.Topic, grown) {
			g.Partitions = grown
		}
		in := g.Input(n)
		client.Produce(ctx, &kgo.Record{Partition: in.Partition, Key: in.Key, Value: in.Value}, done)
	}
	flushed := client.Flush(ctx)
	if err := errors.Join(context.Cause(ctx), flushed); err != nil {
		return fmt.Errorf("write to %s: %w", w.Topic, err)
	}
	return nil
}

// known reports whether a client knows as many partitions. It would refuse an input for
// one that it does not know.
func known(client *kgo.Client, topic string, partitions int32) bool {
	leader, _, err := client.PartitionLeader(topic, partitions-1)
	return err == nil && leader >= 0
}

// pace waits until n inputs are due, or ctx ends.
func (w *Writer) pace(ctx context.Context, began time.Time, n float64) {
	if w.Rate <= 0 {
		return
	}
	wait := time.Until(began.Add(time.Duration(n / w.Rate * float64(time.Second))))
	if wait < time.Millisecond { // timers are not finer
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}
