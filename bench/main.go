//go:build unix

// Command bench measures leat copy or leat perf produce against hand-written workers that do the
// same, in interleaved pairs on the same brokers, and checks every record of every run.
// scripts/bench builds all that takes part and starts it; README.md says how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the program's flags.
type options struct {
	brokers      []string
	kafkaVersion string
	commit       string
	java         string
	job          string
	bars         []bar
	batchSize    int
	burst        int64
	pairs        int
	warmup       int
	n            int64
	out          string
	workers      []worker
	interval     time.Duration
	idle         float64
	patience     time.Duration
	limit        time.Duration
	keep         bool
}

// subcommands are jobs that the benchmark runs in processes of their own: a process counts its
// parent's memory at its start as its own peak, so the one that starts the workers stays small.
var subcommands = map[string]func(context.Context, []string) error{
	"fill":  fillCommand,
	"check": checkCommand,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if job := subcommands[args[0]]; job != nil {
			return job(ctx, args[1:])
		}
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	return measure(ctx, o, self, os.Stdout, os.Stderr)
}

// parse reads the flags of the benchmark itself.
func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`, comma separated")
	fs.StringVar(&o.kafkaVersion, "kafka-version", "", "the brokers' `version`, if known (default: guessed from what they support)")
	fs.StringVar(&o.commit, "commit", "", "`commit` that leat was built from, if known, for the report")
	fs.StringVar(&o.java, "java-version", "", "`versions` of Kafka's Java libraries and the JVM, for the report")
	var p programs
	fs.StringVar(&p.leat, "leat", "", "`path` of the leat command")
	fs.StringVar(&p.sarama, "sarama", "", "`path` of the sarama peer")
	fs.StringVar(&p.franz, "franz", "", "`path` of the franz-go peer")
	fs.StringVar(&p.classPath, "java", "", "class `path` of the Java peers")
	fs.StringVar(&o.job, "job", "copy", "what is measured: copy, produce, steady or bursts")
	peers := fs.String("peers", "", "`peers`, comma separated; copy: sarama, franz, streams (default sarama); produce: franz, sarama, java (default franz,sarama); steady: none, 2ms, 5ms, 10ms, 20ms (default all); bursts: none, 5ms, 20ms (default none)")
	fs.Int64Var(&o.burst, "burst", 1000, "records sent at once by -job bursts")
	also := fs.String("also", "", "further `peers`, comma separated")
	fs.IntVar(&o.batchSize, "batch-size", 0, "largest batch in `bytes` of all workers that can be told (default: their own; not sarama's; leat copy's is always 131072)")
	fs.Func("bar", "a `promise` to report on, may be repeated: PEER:rate:BOUND (at least), PEER:request:BOUND (records per request, at least), PEER:cpu:BOUND, leat:allocs:BOUND or leat:p99:BOUND (ms, at most)", func(text string) error {
		b, err := parseBar(text)
		o.bars = append(o.bars, b)
		return err
	})
	fs.IntVar(&o.pairs, "pairs", 5, "measured pairs")
	fs.IntVar(&o.warmup, "warmup", 1, "pairs before them that do not count: the broker's JVM compiles what it runs often")
	fs.Int64Var(&o.n, "n", 2_000_000, "records per run")
	fs.StringVar(&o.out, "out", "", "append everything measured to this `file` as JSON lines")
	fs.DurationVar(&o.interval, "commit-interval", 0, "commit interval of all workers (default: their own default, 100ms)")
	fs.Float64Var(&o.idle, "idle", 0.25, "a machine is quiet when it uses less than this many `cores`")
	fs.DurationVar(&o.patience, "patience", 90*time.Second, "longest wait for a quiet machine before a run; 0 does not wait")
	fs.DurationVar(&o.limit, "limit", 10*time.Minute, "longest time of one run")
	fs.BoolVar(&o.keep, "keep", false, "leave topics and groups on the brokers")
	if err := fs.Parse(args); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			err = errors.Join(err, flag.ErrHelp) // already reported, with the usage
		}
		return o, err
	}
	o.brokers = strings.Split(*brokers, ",")
	j, known := jobs[o.job]
	if !known {
		return o, fmt.Errorf("-job is copy, produce, steady or bursts, not %q", o.job)
	}
	var err error
	o.workers, err = j.choose(p, *peers, *also)
	return o, errors.Join(err, o.validate(*brokers, fs.Args()))
}

// validate reports all mistakes at once.
func (o options) validate(brokers string, rest []string) error {
	var errs []error
	if brokers == "" {
		errs = append(errs, errors.New("-brokers is required"))
	}
	for _, w := range o.workers {
		if w.path == "" {
			errs = append(errs, fmt.Errorf("the path of %s is required", w.name))
		}
	}
	for _, b := range o.bars {
		if !slices.ContainsFunc(o.workers, func(w worker) bool { return w.name == b.Who }) {
			errs = append(errs, fmt.Errorf("a bar is about %s, which does not take part", b.Who))
		}
	}
	if o.batchSize < 0 {
		errs = append(errs, errors.New("-batch-size must not be negative"))
	}
	if o.pairs < 1 || o.warmup < 0 {
		errs = append(errs, errors.New("-pairs must be at least 1 and -warmup not negative"))
	}
	if o.n < 1 {
		errs = append(errs, errors.New("-n must be at least 1"))
	}
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	return errors.Join(errs...)
}
