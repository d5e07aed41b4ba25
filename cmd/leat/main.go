// Command leat is Leat from the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is a subcommand. It returns errUsage for bad flags, which it has
// reported itself.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

var commands = []command{
	{"copy", "copy a topic to another, exactly once", runCopy},
	{"doctor", "check a cluster before production", runDoctor},
	{"cat", "print records as JSON, decoded by the schema registry", runCat},
	{"dlq", "list, show and redrive dead letters", runDLQ},
	{"perf", "measure how fast records can be written", runPerf},
	{"schema", "list, show, check, register and derive schemas", runSchema},
}

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name != args[0] {
				continue
			}
			err := c.run(ctx, args[1:], stdout, stderr)
			switch {
			case err == nil:
				return 0
			case errors.Is(err, errUsage):
				return 2
			default:
				fmt.Fprintf(stderr, "leat %s: %v\n", c.name, err)
				return 1
			}
		}
		fmt.Fprintf(stderr, "leat: no command %q\n", args[0])
	}
	fmt.Fprintln(stderr, "usage: leat COMMAND [flags]\n\ncommands:")
	for _, c := range commands {
		fmt.Fprintf(stderr, "  %-8s %s\n", c.name, c.summary)
	}
	return 2
}

// runSubcommand runs one of a command's subcommands. name is what the user has called.
func runSubcommand(ctx context.Context, name string, all []command, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		for _, c := range all {
			if c.name == args[0] {
				return c.run(ctx, args[1:], stdout, stderr)
			}
		}
		if !strings.HasPrefix(args[0], "-") {
			fmt.Fprintf(stderr, "%s: no command %q\n", name, args[0])
		}
	}
	fmt.Fprintf(stderr, "usage: %s COMMAND [flags]\n\ncommands:\n", name)
	for _, c := range all {
		fmt.Fprintf(stderr, "  %-8s  %s\n", c.name, c.summary)
	}
	return errUsage
}
