//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// workerOptions are the flags of chaos worker.
type workerOptions struct {
	brokers            []string
	topics             workload.Topics
	group, instance    string
	application        string
	commitInterval     time.Duration
	sessionTimeout     time.Duration
	heartbeat          time.Duration
	transactionTimeout time.Duration
	batchSize          int
	assignment         kafka.Assignment
	delivery           pipeline.Guarantee
	manifests          bool
	aborts             float64
	seed               uint64
	slow               *slow
	statusEvery        time.Duration
}

// workerCommand runs a worker until it is told to stop. It writes a status as a line
// of JSON to stdout, every now and then and at its end.
func workerCommand(ctx context.Context, args []string) error {
	o, err := parseWorker(args)
	if err != nil {
		return err
	}
	o.slow = listenForSlow(o.transactionTimeout * 3 / 2)
	defer o.slow.close()
	return runWorker(ctx, o, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

func parseWorker(args []string) (workerOptions, error) {
	var o workerOptions
	fs := flag.NewFlagSet("chaos worker", flag.ContinueOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`, comma separated")
	topics := fs.String("topics", "", "what the topics' names begin with")
	fs.StringVar(&o.group, "group", "", "consumer `group`")
	fs.StringVar(&o.instance, "instance", "", "the worker's `name`; with one it is a static member (default: a dynamic one)")
	fs.StringVar(&o.application, "application", "chaos", "first `part` of the transactional id")
	fs.DurationVar(&o.commitInterval, "commit-interval", 0, "time between commits (default: Leat's)")
	fs.DurationVar(&o.sessionTimeout, "session-timeout", 0, "the group's time-out (default: Leat's)")
	fs.DurationVar(&o.heartbeat, "heartbeat-interval", 0, "time between the group's heartbeats (default: Leat's)")
	fs.DurationVar(&o.transactionTimeout, "transaction-timeout", 0, "the transactions' time-out (default: Leat's)")
	fs.IntVar(&o.batchSize, "batch-size", 0, "`bytes` of a batch (default: Leat's)")
	assignment := fs.String("assignment", "cooperative", "how partitions are shared: cooperative, range or roundrobin")
	delivery := fs.String("delivery", "exactly-once", "the guarantee: exactly-once, or at-least-once, which the checker must notice")
	fs.BoolVar(&o.manifests, "manifest", true, "write units with manifests; without them no stage has state")
	counts := fs.Bool("counts", false, "count the inputs of each key, in a topic")
	fs.Float64Var(&o.aborts, "aborts", 0, "`share` of transactions that are made to fail, from 0 to below 1")
	fs.Uint64Var(&o.seed, "seed", 0, "`seed` of which transactions fail")
	fs.DurationVar(&o.statusEvery, "status", statusEvery, "time between statuses")
	if err := fs.Parse(args); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			err = errors.Join(err, flag.ErrHelp) // already reported, with the usage
		}
		return o, err
	}
	var errs []error
	mistake := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	mistake(*brokers == "", "-brokers is required")
	mistake(*topics == "", "-topics is required")
	mistake(o.group == "", "-group is required")
	mistake(o.aborts < 0 || o.aborts >= 1, "-aborts is from 0 to below 1")
	mistake(o.statusEvery <= 0, "-status must be positive")
	mistake(fs.NArg() > 0, "unexpected argument %q", fs.Arg(0))
	var ok bool
	o.assignment, ok = assignments[*assignment]
	mistake(!ok, "-assignment is cooperative, range or roundrobin, not %q", *assignment)
	o.delivery, ok = deliveries[*delivery]
	mistake(!ok, "-delivery is exactly-once or at-least-once, not %q", *delivery)
	o.brokers, o.topics = strings.Split(*brokers, ","), workload.NewTopics(*topics)
	if *counts {
		o.topics = o.topics.WithCounts(*topics)
	}
	if len(errs) > 0 {
		errs = append(errs, flag.ErrHelp)
	}
	return o, errors.Join(errs...)
}

var (
	assignments = map[string]kafka.Assignment{"cooperative": kafka.CooperativeSticky, "range": kafka.Range, "roundrobin": kafka.RoundRobin}
	deliveries  = map[string]pipeline.Guarantee{"exactly-once": pipeline.ExactlyOnce, "at-least-once": pipeline.AtLeastOnce}
)

// runWorker runs the pipeline until ctx ends. It is kafka.Run with a sink around the
// sink.
func runWorker(ctx context.Context, o workerOptions, out io.Writer, log *slog.Logger) error {
	cfg := kafka.Config{
		Brokers: o.brokers, ClientID: "chaos-" + o.instance, Delivery: o.delivery,
		Group: o.group, Instance: o.instance, Application: o.application,
		SessionTimeout: o.sessionTimeout, HeartbeatInterval: o.heartbeat, CommitInterval: o.commitInterval, Assignment: o.assignment,
		Producer: kafka.ProducerConfig{TransactionTimeout: o.transactionTimeout, BatchSize: o.batchSize}, Logger: log,
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	w := newReporter(o.instance, rand.Text()[:8], out)
	sink := newAborting(kafka.NewSink(cfg), o.aborts, o.seed)
	w.injected, w.slow = sink.count, o.slow.count
	stop := w.start(o.statusEvery)
	err := pipeline.Run(ctx, newPipeline(o, w), kafkasource.New(kafkasource.Config{
		Brokers: o.brokers, ClientID: cfg.ClientID, Group: o.group, Instance: o.instance,
		Assignment: o.assignment, SessionTimeout: o.sessionTimeout, HeartbeatInterval: o.heartbeat, Logger: log,
	}), sink,
		pipeline.Require(o.delivery), pipeline.CommitEvery(o.commitInterval, 0, 0), pipeline.Observe(&w.stats), pipeline.Logger(log),
	)
	stop(err)
	return err
}

// statusEvery is the usual time between statuses.
const statusEvery = 200 * time.Millisecond
