package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// StateSource is a [Source] that can read the state of stages.
type StateSource interface {
	// ReadState reads one partition of a state topic from its beginning, outside any
	// group and only what is committed, and calls apply for each record, in order and on
	// one goroutine. It returns nil when apply has returned for everything up to the end
	// of the log as of the call.
	//
	// That end is the last record that was written, in Kafka the high watermark, and not
	// the last one that a read_committed reader is given now (the last stable offset).
	// Ready has ended what this worker's producer had left open, and the committed
	// position of the input was fetched as a stable one, so the transaction of the
	// partition's owner before has been decided. But a coordinator that has decided
	// writes its markers to each partition of the transaction on its own: those of the
	// offsets may be there before the state's. What is open below the end is waited for.
	//
	// It is called from any goroutine, several at once for different partitions.
	//
	// moved is called when the end is known, and whenever the reader has come further, with
	// where it reads on. An error of apply ends the reading, and so does the end of ctx, with
	// its cause.
	ReadState(ctx context.Context, p Partition, apply func(*Raw) error, moved func(next, end int64)) error
}

// Restoring is how far the state of a stage has been read.
type Restoring struct {
	// Partition is that of the state topic.
	Partition Partition
	// Next is the offset to be read next, End where the reading ends.
	Next, End int64
	// Since is when Next was reached. It stays behind End while a transaction of another
	// producer is open there.
	Since time.Time
}

const (
	// restoreWarning is how long the reading of a state may stand still before that is
	// logged, restorePatience when it fails the pipeline. In between, whoever has a
	// transaction open there runs into its time-out (Kafka: at most
	// transaction.max.timeout.ms, 15 minutes).
	restoreWarning  = 10 * time.Second
	restorePatience = 20 * time.Minute
)

// ErrStateBlocked says that a stage's state could not be read to its end: a transaction of
// another producer is open in its topic and does not end, or its brokers do not answer.
var ErrStateBlocked = errors.New("the state cannot be read to its end; somebody else has a transaction open in the topic, which nobody else may write to, or its brokers do not answer")

// Restore is for the Assigned hook of a stage made by [ApplyState]: it reads what the
// partition's stage has committed to its topic, whichever worker it was, and calls apply
// for each record, oldest first. Of one key there may be several, of which the last counts;
// a nil value deletes it. What the record refers to may be kept, the record may not. An
// error of apply ends it and fails the pipeline.
//
// It blocks for as long as that takes; Snapshot.Claims has its progress. It returns an
// error early when the partition is given up, and [ErrStateBlocked] when it has stood still
// for 20 minutes.
func (sc *StageContext) Restore(ctx context.Context, apply func(*Raw) error) error {
	topic := sc.node.cfg.state
	if topic == "" {
		return sc.Fail(Fatal(fmt.Errorf("%w: a stage without state cannot restore it; make it with ApplyState", ErrInvalid)))
	}
	t := sc.task
	if t.restore == nil {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-t.stop:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	})
	return t.restore(ctx, Partition{topic, t.partition.Partition}, apply)
}

// restore reads a state for the claim's task.
func (c *Claim) restore(ctx context.Context, part Partition, apply func(*Raw) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.restoring.Store(nil)

	began, records := time.Now(), 0
	failure := time.AfterFunc(restorePatience, func() { cancel(ErrStateBlocked) })
	defer failure.Stop()
	warning := time.AfterFunc(restoreWarning, func() {
		if r := c.restoring.Load(); r != nil {
			c.w.log.Warn("reading state stands still, somebody has a transaction open there, or its brokers do not answer", "partition", part, "offset", r.Next, "end", r.End)
		}
	})
	defer warning.Stop()
	at := int64(-1)
	moved := func(next, end int64) {
		if next > at {
			at = next
			failure.Reset(restorePatience)
			warning.Reset(restoreWarning)
			c.restoring.Store(&Restoring{part, next, end, time.Now()})
		}
	}
	err := c.w.states.ReadState(ctx, part, func(r *Raw) error {
		records++
		return apply(r)
	}, moved)
	if err != nil {
		if ctx.Err() != nil { // a client may have said no more than that
			err = context.Cause(ctx)
		}
		return Fatal(fmt.Errorf("state %v: %w", part, err))
	}
	c.w.log.Debug("state restored", "partition", part, "records", records, "took", time.Since(began))
	return nil
}
