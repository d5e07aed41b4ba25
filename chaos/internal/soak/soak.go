//go:build unix

package soak

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// rate is the number of inputs per second, so that an hour's records stay on disks of
// DiskSize.
const rate = 300

// DiskSize is what each broker needs for an hour, in bytes.
const DiskSize = 3 << 30

// Config is what a soak is started with.
type Config struct {
	// Config is that of the scenarios; its cluster must be isolated. Limit and Scale are
	// not used.
	scenario.Config
	// Time is how long it lasts in all, a few minutes more or less.
	Time time.Duration
	// Seed chooses everything.
	Seed uint64
	// Part is the name of the one part that is played. Default: all.
	Part string
	// Out is told about each step.
	Out io.Writer
}

// deletionTime is about what the deletions of topics take.
const deletionTime = 2 * time.Minute

// Run plays the parts, one after the other: topics that are deleted, a thousand
// partitions, and the schedule of faults. It ends with the first part that fails.
func Run(ctx context.Context, cfg Config) ([]scenario.Result, error) {
	cfg.Limit, cfg.Scale = cfg.Time+15*time.Minute, 1
	var results []scenario.Result
	for _, part := range cfg.parts() {
		if cfg.Part != "" && cfg.Part != part.Name {
			continue
		}
		fmt.Fprintf(cfg.Out, "%s  %s: %s\n", time.Now().Format(time.TimeOnly), part.Name, part.About)
		r := scenario.Play(ctx, cfg.Config, part, cfg.Seed)
		results = append(results, r)
		if r.Err != nil || ctx.Err() != nil {
			break
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("soak: there is no part %q", cfg.Part)
	}
	return results, nil
}

// parts are all parts. The thousand partitions get a tenth of the time, the deletions
// what they need, and the schedule the rest, or all if it is played alone.
func (c *Config) parts() []scenario.Scenario {
	thousand, mix := c.Time/10, c.Time-c.Time/10-deletionTime
	if c.Part != "" {
		thousand, mix = c.Time, c.Time
	}
	return append(c.deletions(), c.thousand(thousand), c.mix(mix))
}

// mix is the part with the schedule.
func (c *Config) mix(d time.Duration) scenario.Scenario {
	return scenario.Scenario{
		Name: "soak-mix", About: "one fault after the other, some together, and a worker is told to stop every half minute",
		Rate: rate, Inputs: uint64(rate * d.Seconds()), Generator: small,
		Play: func(ctx context.Context, r *scenario.Run) error {
			return newPlay(r, c.Out).run(ctx, NewSchedule(c.Seed), d, c.Seed)
		},
	}
}
