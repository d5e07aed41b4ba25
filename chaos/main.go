//go:build unix

// Command chaos is Leat's fault suite: workers, and what watches and judges them from
// outside. chaos worker runs one worker.
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
)

// subcommands are what the program can be asked for.
var subcommands = map[string]func(context.Context, []string) error{
	"ci":      ciCommand,
	"mutants": mutantsCommand,
	"soak":    soakCommand,
	"worker":  workerCommand,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(dispatch(ctx, os.Args[1:]))
}

// dispatch returns the exit code: 2 for a mistake in the arguments.
func dispatch(ctx context.Context, args []string) int {
	var run func(context.Context, []string) error
	if len(args) > 0 {
		run = subcommands[args[0]]
	}
	if run == nil {
		var names []string
		for name := range subcommands {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintln(os.Stderr, "usage: chaos", strings.Join(names, "|"), "FLAGS")
		return 2
	}
	err := run(ctx, args[1:])
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "chaos %s: %v\n", args[0], err)
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	return 1
}
