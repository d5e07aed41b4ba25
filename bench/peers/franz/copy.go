//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/internal/meter"
)

// pollRecords bounds one poll, so that the commit interval is looked at often enough.
const pollRecords = 10_000

// runCopy copies exactly once with a GroupTransactSession, until everything is committed that was
// in the input when it began.
func runCopy(ctx context.Context, o options) error {
	began := time.Now()
	session, err := kgo.NewGroupTransactSession(append(o.producing(o.to),
		kgo.ConsumerGroup(o.group),
		kgo.ConsumeTopics(o.from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.TransactionalID(o.group+"-0"),
		kgo.TransactionTimeout(15*time.Second),
	)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	committed, lastCommit, err := copyAll(ctx, session, o)
	session.Close()
	if err != nil {
		return fmt.Errorf("stopped after %d records: %w", committed, err)
	}
	return meter.Report(os.Stdout, committed, began, lastCommit)
}

// copyAll commits one transaction after the other, up to where the input ends now.
func copyAll(ctx context.Context, session *kgo.GroupTransactSession, o options) (committed int64, last time.Time, err error) {
	listed, err := kadm.NewClient(session.Client()).ListEndOffsets(ctx, o.from)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return 0, last, fmt.Errorf("ends of %s: %w", o.from, err)
	}
	total := int64(0) // the input is plain, so that offsets count records
	listed.Each(func(end kadm.ListedOffset) { total += end.Offset })

	for committed < total {
		n, err := transaction(ctx, session, o, total-committed)
		if err != nil {
			return committed, last, err
		}
		if n > 0 {
			committed, last = committed+n, time.Now()
		}
	}
	return committed, last, nil
}

// transaction copies for one commit interval, or until nothing is left, and returns how many
// records it committed. None when it aborted: the session has then gone back to where it began.
func transaction(ctx context.Context, session *kgo.GroupTransactSession, o options, left int64) (int64, error) {
	if err := session.Begin(); err != nil {
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	var count int64
	var failed atomic.Bool // set by the client's goroutines
	var fetchErrs error
	for end := time.Now().Add(o.interval); count < left && time.Now().Before(end); {
		poll, cancel := context.WithDeadline(ctx, end)
		fetches := session.PollRecords(poll, pollRecords)
		cancel()
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				fetchErrs = errors.Join(fetchErrs, fmt.Errorf("fetch %s/%d: %w", topic, partition, err))
			}
		})
		if fetchErrs != nil {
			break
		}
		fetches.EachRecord(func(r *kgo.Record) {
			out := &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
			session.Produce(ctx, out, func(_ *kgo.Record, err error) {
				if err != nil && !failed.Swap(true) {
					fmt.Fprintln(os.Stderr, "produce:", err)
				}
			})
			count++
		})
	}
	// Flushed before the decision, since only then it is known whether every record was accepted.
	err := fetchErrs
	if err == nil {
		err = session.Client().Flush(ctx)
	}
	commit := kgo.TransactionEndTry(err == nil && !failed.Load())
	ended, endErr := session.End(context.WithoutCancel(ctx), commit) // an abort must happen even if ctx is over
	if err := errors.Join(err, endErr); err != nil {
		return 0, fmt.Errorf("end transaction: %w", err)
	}
	if !ended {
		return 0, nil
	}
	return count, nil
}
