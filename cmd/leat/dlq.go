package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/leat-stream/leat/internal/cluster"
)

// dlqCommands are the subcommands of leat dlq.
var dlqCommands = []command{
	{"list", "the letters that are open, by stage and error", runDLQList},
	{"show", "the letters one by one, decoded", runDLQShow},
	{"redrive", "send letters back to where they came from", runDLQRedrive},
}

func runDLQ(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runSubcommand(ctx, "leat dlq", dlqCommands, args, stdout, stderr)
}

// dlqOptions are the flags that the subcommands share.
type dlqOptions struct {
	topic      string
	filter     letterFilter
	limit      int64
	key, value string // formats
	cluster    cluster.Config
	registry   registryFlags
}

// parse parses a subcommand's flags, which has defined its own. The note is for the help.
func (o *dlqOptions) parse(fs *flag.FlagSet, note string, args []string, stderr io.Writer) error {
	name := strings.TrimPrefix(fs.Name(), "leat ")
	fs.SetOutput(io.Discard)
	var conn connection
	conn.flags(fs)
	fs.StringVar(&o.topic, "topic", "", "dead-letter `topic` (required)")
	o.filter.flags(fs)
	fs.Int64Var(&o.limit, "limit", 0, "the first `n` of these letters, by partition and offset (default: no limit)")
	fs.StringVar(&o.key, "key-format", formatAuto, "format of the keys, for -key and for show: "+strings.Join(formats, ", "))
	fs.StringVar(&o.value, "value-format", formatAuto, "format of the values, for show, likewise")
	o.registry.flags(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprintf(stderr, "usage: %s --brokers A,B --topic TOPIC [flags]\n\n%s\n\n", fs.Name(), note)
			fs.PrintDefaults()
			return errUsage
		}
		return usage(stderr, name, "%v", err)
	}
	var bad string
	switch {
	case fs.NArg() > 0:
		bad = fmt.Sprintf("unexpected argument %q", fs.Arg(0))
	case conn.brokers == "":
		bad = "--brokers is required"
	case o.topic == "":
		bad = "--topic is required"
	case o.limit < 0:
		bad = fmt.Sprintf("--limit: %d is negative", o.limit)
	}
	for flag, format := range map[string]string{"key-format": o.key, "value-format": o.value} {
		switch {
		case !slices.Contains(formats, format):
			bad = fmt.Sprintf("--%s is %s, not %q", flag, strings.Join(formats, ", "), format)
		case needsRegistry(format) && !o.registry.given():
			bad = fmt.Sprintf("--%s %s needs --registry", flag, format)
		}
	}
	if bad != "" {
		return usage(stderr, name, "%s", bad)
	}
	var err error
	if o.cluster, err = conn.config("leat-dlq"); err == nil {
		err = o.registry.open()
	}
	if err != nil {
		return usage(stderr, name, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
