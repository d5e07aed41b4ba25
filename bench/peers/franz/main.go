//go:build unix

// Command franz copies a topic to another exactly once on franz-go's GroupTransactSession: not a
// peer that Leat's speed is promised against, but what another client can do on the same machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/internal/meter"
)

// pollRecords bounds one poll, so that the commit interval is looked at often enough.
const pollRecords = 10_000

// options are the command's flags.
type options struct {
	brokers  []string
	from, to string
	group    string
	interval time.Duration
}

func main() {
	var o options
	brokers := flag.String("brokers", "", "bootstrap `addresses`, comma separated")
	flag.StringVar(&o.from, "from", "", "input `topic`")
	flag.StringVar(&o.to, "to", "", "output `topic`")
	flag.StringVar(&o.group, "group", "", "consumer `group`")
	flag.DurationVar(&o.interval, "commit-interval", 100*time.Millisecond, "time between commits")
	flag.Parse()
	if *brokers == "" || o.from == "" || o.to == "" || o.group == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	o.brokers = strings.Split(*brokers, ",")

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "franz peer:", err)
		os.Exit(1)
	}
}

// run copies until everything is committed that was in the input when it began.
func run(ctx context.Context, o options) error {
	began := time.Now()
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(o.brokers...),
		kgo.ClientID("leat-bench-franz"),
		kgo.ConsumerGroup(o.group),
		kgo.ConsumeTopics(o.from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.TransactionalID(o.group+"-0"),
		kgo.TransactionTimeout(15*time.Second),
		kgo.DefaultProduceTopic(o.to),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000), // the default of 10,000 waits for the broker too often
	)
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
