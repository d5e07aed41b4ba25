//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/bench/internal/meter"
)

// maxFailures bounds how often a session may fail before the worker gives up.
const maxFailures = 20

// copyConfig is the configuration of a worker that copies exactly once.
func copyConfig(o options) *sarama.Config {
	c := producing()
	c.Producer.Transaction.ID = o.group + "-0"
	c.Producer.Transaction.Timeout = 15 * time.Second
	// The broker refuses the first partitions of a transaction while it writes the markers of the
	// one before; the default of 100 ms would idle through the next commit interval.
	c.Producer.Transaction.Retry.Backoff = 10 * time.Millisecond

	// Also makes the group wait for offsets of transactions that are still being written.
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = true
	// A claim stands still during a commit; the default of 100 ms would drop its fetches then.
	c.Consumer.MaxProcessingTime = 10 * time.Second
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	return c
}

// runCopy copies until everything is committed that was in the input when it began.
func runCopy(ctx context.Context, o options) error {
	began := time.Now()
	c := copyConfig(o)
	ends, err := inputEnds(o, c)
	if err != nil {
		return err
	}
	w := newWorker(o, c, ends)
	if err := w.openProducer(); err != nil {
		return err
	}
	err = errors.Join(consume(ctx, w), w.closeProducer())
	if err != nil {
		return err
	}
	return meter.Report(os.Stdout, w.committed, began, w.lastCommit)
}

// inputEnds is where each partition of the input ends now.
func inputEnds(o options, c *sarama.Config) (map[int32]int64, error) {
	client, err := sarama.NewClient(o.brokers, c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	partitions, err := client.Partitions(o.from)
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", o.from, err)
	}
	ends := map[int32]int64{}
	for _, p := range partitions {
		end, err := client.GetOffset(o.from, p, sarama.OffsetNewest)
		if err != nil {
			return nil, fmt.Errorf("end of %s/%d: %w", o.from, p, err)
		}
		if end > 0 {
			ends[p] = end
		}
	}
	return ends, nil
}

// consume runs the worker in its group, one session after the other, until all is committed.
func consume(ctx context.Context, w *worker) error {
	group, err := sarama.NewConsumerGroup(w.o.brokers, w.o.group, w.config)
	if err != nil {
		return fmt.Errorf("join group: %w", err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for err := range group.Errors() {
			fmt.Fprintln(os.Stderr, "group:", err)
		}
	}()

	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-w.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	var lost error
	for failures := 0; ctx.Err() == nil && failures < maxFailures; {
		if lost = group.Consume(ctx, []string{w.o.from}, w); lost != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "session:", lost)
			failures++
			time.Sleep(100 * time.Millisecond)
		}
	}
	stopped := errors.Join(lost, ctx.Err())
	cancel()
	<-watched
	err = group.Close()
	<-drained
	if err != nil {
		return fmt.Errorf("leave group: %w", err)
	}
	select {
	case <-w.done:
		return nil
	default:
		return fmt.Errorf("stopped after %d records: %w", w.committed, stopped)
	}
}
