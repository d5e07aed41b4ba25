//go:build unix

package scenario

import (
	"context"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// ofRecords are the scenarios in which the input is what harms.
var ofRecords = []Scenario{
	{
		Name: "bad-records", About: "a fifth of the input is poisonous, null, too large when it comes out, or refused by the broker; a worker is killed as well",
		Generator: func(g *workload.Generator) {
			g.Poison, g.Nulls, g.Swells, g.Bursts, g.Large = 0.08, 0.08, 0.005, 0.0005, 0.002
		},
		Inputs: 40_000,
		Play: func(ctx context.Context, r *Run) error {
			r.MustReach("dead letters", r.Scaled(1000), func() int64 {
				return r.sum(func(s workload.Status) int64 { return s.Dead })
			})
			return r.crash(ctx, 0.5)
		},
	},
	{
		Name: "filter-all", About: "no input has an output: positions have to move all the same",
		Generator: func(g *workload.Generator) {
			g.Poison, g.Nulls, g.Swells, g.Bursts, g.Dropped = 0, 0, 0, 0, 1
		},
		Flags: []string{"-manifest=false"}, Stateless: true,
		Play: func(ctx context.Context, r *Run) error {
			r.MustReach("transactions without records", r.Scaled(50), r.commits)
			return r.crash(ctx, 0.5)
		},
	},
}
