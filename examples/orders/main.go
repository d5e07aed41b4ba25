// Command orders is Leat's main example: it reads orders, checks them, adds what
// is known of their customers and writes them to a partition for each region,
// exactly once, with what is wrong in a topic of dead letters.
//
// Without flags it needs nothing but Go: it starts a Kafka and a schema registry in
// its own process and generates the orders.
//
//	go run ./examples/orders
//	go run ./examples/orders -http :8080
//	go run ./examples/orders -brokers localhost:9092 -registry http://localhost:8081 -create-topics -n 100000 -until-end
//
// The job itself is in pipeline.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 also when ctx has ended it, 1 for failures, 2 for
// mistakes in the flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	o.cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = process(ctx, o, stdout, stderr)
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		fmt.Fprintf(stderr, "orders: %s\n", oneLine(err))
		return 1
	}
	return 0
}

// process does what the flags say, from the topics to the report.
func process(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	if o.embedded {
		cluster, err := embedded.Start(embedded.Config{Topics: topics})
		if err != nil {
			return fmt.Errorf("start the embedded Kafka: %w", err)
		}
		defer func() { _ = cluster.Close() }() // nothing of it is kept
		o.cfg.Brokers, o.registry = cluster.Brokers(), cluster.RegistryURL()
		fmt.Fprintf(stderr, "embedded Kafka at %s, registry at %s\n", cluster.Brokers()[0], o.registry)
	} else if o.createTopics {
		if err := createTopics(ctx, o.cfg.Brokers); err != nil {
			return err
		}
	}
	reg, err := registry.New(o.registryConfig())
	if err != nil {
		return err
	}
	if o.n > 0 {
		fmt.Fprintf(stderr, "generating %s customers and %s orders\n", thousands(generatedCustomers), thousands(int64(o.n)))
		if err := generate(ctx, o.cfg, reg, o.n, o.seed, stderr); err != nil {
			return err
		}
	}
	if o.http != "" {
		observer, stop, err := serveConsole(ctx, o.http, stderr)
		if err != nil {
			return err
		}
		defer stop()
		o.cfg.Observers = append(o.cfg.Observers, observer)
	}
	if o.rate > 0 {
		defer generateOn(ctx, o.cfg, reg, o.rate, o.seed+1, stderr)()
	}
	began := time.Now()
	var stats pipeline.Stats
	if err := runJob(ctx, ordersByRegion(reg), o.cfg, &stats, stderr); err != nil {
		return err
	}
	done := stats.Snapshot()
	reportSpeed(stdout, done, began, o.cfg.Delivery)
	if !o.cfg.UntilEnd || ctx.Err() != nil {
		return nil // topics without an end are not read back
	}
	fmt.Fprintln(stderr, "reading the output topics back")
	counts, err := readBack(ctx, kafkasource.Config{Brokers: o.cfg.Brokers, Logger: o.cfg.Logger})
	if err != nil {
		return err
	}
	read := int64(-1)
	if o.embedded {
		read = done.Committed
	}
	return reportOutputs(stdout, counts, read)
}

// runJob runs the pipeline and shows its progress.
func runJob(ctx context.Context, p *pipeline.Pipeline, cfg kafka.Config, stats *pipeline.Stats, progress io.Writer) error {
	cfg.Stats = stats
	fmt.Fprintf(progress, "running %s, %s\n", p.Name(), cfg.Delivery)
	defer showProgress(progress, stats)()
	return kafka.Run(ctx, p, cfg)
}
