//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/leat-stream/leat/chaos/internal/soak"
)

// soakCommand lets things go wrong for an hour. scripts/chaos gives it a network and
// mounts of its own.
func soakCommand(ctx context.Context, args []string) error {
	o := stageOptions{isolated: true, disk: soak.DiskSize}
	fs := flag.NewFlagSet("chaos soak", flag.ContinueOnError)
	o.register(fs)
	seed := fs.Uint64("seed", 1, "`number` that chooses what goes wrong when")
	minutes := fs.Float64("minutes", 60, "`time` that it lasts, in minutes")
	only := fs.String("part", "", "`name` of the one part to play (default: all)")
	report := fs.String("report", "", "`file` to write the report to, as Markdown (default: standard output)")
	plan := fs.Int("plan", 0, "print this `number` of the steps of the schedule, and do nothing")
	if err := fs.Parse(args); err != nil {
		return errors.Join(err, flag.ErrHelp)
	}
	if *plan > 0 {
		schedule := soak.NewSchedule(*seed)
		for range *plan {
			fmt.Println(schedule.Next())
		}
		return nil
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	cfg := soak.Config{
		Config: s.Config, Time: time.Duration(*minutes * float64(time.Minute)), Seed: *seed, Part: *only, Out: os.Stdout,
	}
	results, err := soak.Run(ctx, cfg)
	failed := []error{err}
	for _, r := range results {
		tell(r)
		if r.Err != nil {
			failed = append(failed, fmt.Errorf("%s, seed %d", r.Scenario.Name, *seed))
		}
	}
	text := soak.Report(cfg, results)
	if *report == "" {
		fmt.Println(text)
	} else {
		failed = append(failed, os.WriteFile(*report, []byte(text), 0o644))
	}
	return errors.Join(append(failed, ctx.Err(), s.close())...)
}
