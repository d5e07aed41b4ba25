//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leat-stream/leat/chaos/internal/cluster"
	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// stageOptions are the flags of all commands that play scenarios.
type stageOptions struct {
	libs, dir, worker string
	port              int
	limit             time.Duration
	scale             float64
	transactions      int
	verbose           bool

	// Not flags: what a soak needs of its cluster.
	isolated bool
	disk     int64
}

func (o *stageOptions) register(fs *flag.FlagSet) {
	fs.StringVar(&o.libs, "libs", "", "`directory` of Kafka's jars, as scripts/kafka-libs prints it")
	fs.StringVar(&o.dir, "dir", "", "`directory` for histories and logs (default: a temporary one)")
	fs.StringVar(&o.worker, "worker", "", "`program` whose subcommand worker is run (default: this one)")
	fs.IntVar(&o.port, "port", 0, "first of 15 `ports` (default: the cluster's)")
	fs.DurationVar(&o.limit, "limit", 0, "`time` that one scenario may take (default: 3 minutes)")
	fs.Float64Var(&o.scale, "scale", 1, "`factor` on the number of inputs")
	fs.IntVar(&o.transactions, "transaction-version", 2, "the cluster's `version` of transactions, 1 or 2 (KIP-890)")
	fs.BoolVar(&o.verbose, "v", false, "log what is done")
}

// stage is a cluster to play on.
type stage struct {
	scenario.Config
	temporary string
}

func (o *stageOptions) open(ctx context.Context) (s *stage, err error) {
	s = &stage{Config: scenario.Config{Worker: o.worker, Dir: o.dir, Limit: o.limit, Scale: o.scale}}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	s.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if s.Worker == "" {
		if s.Worker, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "leat-chaos-"); err != nil {
			return nil, err
		}
		s.temporary = s.Dir
	}
	s.Cluster, err = cluster.Start(ctx, cluster.Config{
		Libs: o.libs, Port: o.port, TransactionVersion: o.transactions, Logger: s.Logger, Isolated: o.isolated, Disk: o.disk,
	})
	return s, err
}

// close ends the cluster. What failed scenarios have left stays.
func (s *stage) close() error {
	err := s.Cluster.Close()
	if s.temporary != "" {
		_ = os.Remove(s.temporary) // only if it is empty
	}
	return err
}

// ciCommand plays the scenarios of the CI tier, one after the other.
func ciCommand(ctx context.Context, args []string) error {
	var o stageOptions
	fs := flag.NewFlagSet("chaos ci", flag.ContinueOnError)
	o.register(fs)
	seed := fs.Uint64("seed", 1, "`number` that chooses victims and inputs")
	seeds := fs.Uint64("seeds", 1, "how many seeds, one after the other")
	only := fs.String("scenario", "", "`names` of those to play, comma separated (default: all)")
	list := fs.Bool("list", false, "list the scenarios and play none")
	if err := fs.Parse(args); err != nil {
		return errors.Join(err, flag.ErrHelp)
	}
	scenarios, err := chosen(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, s := range scenarios {
			fmt.Printf("%-22s %s\n", s.Name, s.About)
		}
		return nil
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	var failed []error
	var results []scenario.Result
	for n := *seed; n < *seed+*seeds && ctx.Err() == nil; n++ {
		for _, sc := range scenarios {
			if ctx.Err() != nil {
				break
			}
			r := scenario.Play(ctx, s.Config, sc, n)
			results = append(results, r)
			tell(r)
			if r.Err != nil {
				failed = append(failed, fmt.Errorf("%s, seed %d: %w", sc.Name, n, r.Err))
			}
		}
	}
	table(results)
	return errors.Join(append(failed, ctx.Err(), s.close())...)
}

func chosen(names string) ([]scenario.Scenario, error) {
	all := scenario.CI()
	if names == "" {
		return all, nil
	}
	var some []scenario.Scenario
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(s scenario.Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q; -list shows them: %w", name, flag.ErrHelp)
		}
		some = append(some, all[i])
	}
	return some, nil
}

// tell prints one result; all of it if something was wrong.
func tell(r scenario.Result) {
	verdict := "ok"
	if r.Err != nil {
		verdict = "FAILED"
	}
	fmt.Printf("%-22s seed %-3d %-7s %5.1f s\n", r.Scenario.Name, r.Seed, verdict, r.Took.Seconds())
	if r.Err == nil {
		return
	}
	if r.Report != nil {
		fmt.Println(r.Report)
	}
	for _, f := range r.Faults {
		fmt.Printf("  %s to %s: %s\n", f.Began.Format("15:04:05.000"), f.Healed.Format("15:04:05.000"), f.Name)
	}
	fmt.Printf("  %v\n  histories and logs: %s\n  again: -scenario %s -seed %d\n", r.Err, r.Dir, r.Scenario.Name, r.Seed)
}

// table prints what was done and seen in all scenarios.
func table(results []scenario.Result) {
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nscenario\tseed\tverdict\tseconds\tfaults\tinputs\toutputs")
	for _, r := range results {
		verdict, inputs, outputs := "ok", int64(0), int64(0)
		if r.Err != nil {
			verdict = "FAILED"
		}
		if r.Report != nil {
			inputs, outputs = r.Report.Inputs, r.Report.Outputs
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%.1f\t%d\t%d\t%d\n", r.Scenario.Name, r.Seed, verdict, r.Took.Seconds(), len(r.Faults), inputs, outputs)
	}
	w.Flush()
}
