package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

const (
	defaultOrders = 100_000
	defaultRate   = 500
)

// options are the flags.
type options struct {
	embedded     bool // Kafka and registry are started in this process
	registry     string
	createTopics bool
	n            int // orders to generate
	seed         uint64
	rate         int    // orders a second to generate while the job runs
	http         string // address of the console, or ""
	cfg          kafka.Config
}

// errUsage is a mistake in the flags that has been reported.
var errUsage = errors.New("usage")

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	brokers := fs.String("brokers", "", "bootstrap `addresses`, comma separated (default: a Kafka and a registry are started in this process)")
	fs.StringVar(&o.registry, "registry", "", "`URLs` of the schema registry, comma separated; required with -brokers")
	fs.StringVar(&o.cfg.Group, "group", "", "consumer `group` (default: the pipeline's name, orders-by-region)")
	fs.StringVar(&o.cfg.Instance, "instance", "", "`name` of this worker: a static member with a stable transactional id (default: a dynamic member)")
	delivery := fs.String("delivery", "exactly-once", "exactly-once or at-least-once")
	fs.DurationVar(&o.cfg.CommitInterval, "commit-interval", pipeline.DefaultCommitInterval, "time between commits")
	fs.BoolVar(&o.cfg.UntilEnd, "until-end", false, "end when everything that was there at the start is committed (without -brokers and -http always)")
	fs.BoolVar(&o.createTopics, "create-topics", false, "create the topics that do not exist (always without -brokers)")
	fs.IntVar(&o.n, "n", defaultOrders, "`number` of orders to generate first (with -brokers: none unless given)")
	fs.IntVar(&o.rate, "rate", defaultRate, "orders a second to `generate` while the job runs (none unless given, or with -http and without -brokers)")
	fs.StringVar(&o.http, "http", "", "`address` of a page that shows the job, such as :8080, which is on this machine alone; without -brokers the job then runs until it is stopped")
	fs.Uint64Var(&o.seed, "seed", 1, "the same seed generates the same orders")

	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, "usage: orders [flags]\n")
			fs.SetOutput(stderr)
			fs.PrintDefaults()
			return nil, flag.ErrHelp
		}
		return nil, usage(stderr, "%v", err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })

	o.embedded = !given["brokers"]
	switch {
	case fs.NArg() > 0:
		return nil, usage(stderr, "unexpected argument %q", fs.Arg(0))
	case given["brokers"] && o.registry == "":
		return nil, usage(stderr, "-registry is required with -brokers")
	case o.embedded && given["registry"]:
		return nil, usage(stderr, "-registry needs -brokers; without it both are started in this process")
	case o.n < 0 || o.rate < 0:
		return nil, usage(stderr, "-n and -rate must not be negative")
	case *delivery == "at-least-once":
		o.cfg.Delivery = pipeline.AtLeastOnce
	case *delivery != "exactly-once":
		return nil, usage(stderr, "-delivery is exactly-once or at-least-once, not %q", *delivery)
	}
	if _, _, err := net.SplitHostPort(o.http); o.http != "" && err != nil {
		return nil, usage(stderr, "-http: %v; give host:port or :port", err)
	}
	if o.cfg.CommitInterval <= 0 {
		return nil, usage(stderr, "-commit-interval must be positive")
	}
	if !given["rate"] && (!o.embedded || o.http == "" || o.cfg.UntilEnd) {
		o.rate = 0
	}
	if o.embedded {
		o.cfg.UntilEnd = o.cfg.UntilEnd || o.http == ""
		return o, nil // the addresses are known when it has been started
	}
	if !given["n"] {
		o.n = 0
	}
	o.cfg.Brokers = strings.Split(*brokers, ",")
	// A static member that has come to its end does not come back.
	o.cfg.LeaveGroup = o.cfg.Instance != "" && o.cfg.UntilEnd
	if err := errors.Join(o.cfg.Validate(), o.registryConfig().Validate()); err != nil {
		return nil, usage(stderr, "%s", oneLine(err))
	}
	return o, nil
}

func (o *options) registryConfig() registry.Config {
	return registry.Config{URLs: strings.Split(o.registry, ",")}
}

// usage reports a mistake in the flags in one line.
func usage(stderr io.Writer, format string, args ...any) error {
	fmt.Fprintf(stderr, "orders: "+format+" (see -help)\n", args...)
	return errUsage
}

func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), " ")
}
