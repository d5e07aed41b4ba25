//go:build unix

// Command bench measures leat copy against hand-written workers that do the same, in interleaved
// pairs on one broker, and checks every record of every run. scripts/bench builds all that takes
// part and starts it; README.md says how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the program's flags.
type options struct {
	brokers      []string
	kafkaVersion string
	commit       string
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
	leat := fs.String("leat", "", "`path` of the leat command")
	sarama := fs.String("sarama", "", "`path` of the sarama peer")
	franz := fs.String("franz", "", "`path` of the franz-go peer")
	also := fs.String("also", "", "further `peers`, comma separated: franz")
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
	o.workers = []worker{{name: "leat", path: *leat, args: []string{"copy", "-until-end"}}, {name: "sarama", path: *sarama}}
	for _, name := range strings.FieldsFunc(*also, func(r rune) bool { return r == ',' }) {
		if name != "franz" {
			return o, fmt.Errorf("-also knows franz, not %q", name)
		}
		o.workers = append(o.workers, worker{name: name, path: *franz})
	}
	return o, o.validate(*brokers, fs.Args())
}

// validate reports all mistakes at once.
func (o options) validate(brokers string, rest []string) error {
	var errs []error
	if brokers == "" {
		errs = append(errs, errors.New("-brokers is required"))
	}
	for _, w := range o.workers {
		if w.path == "" {
			errs = append(errs, fmt.Errorf("-%s is required", w.name))
		}
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
