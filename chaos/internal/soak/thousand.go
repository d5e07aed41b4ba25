//go:build unix

package soak

import (
	"context"
	"time"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/scenario"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// thousand is the part with a thousand input partitions.
func (c *Config) thousand(d time.Duration) scenario.Scenario {
	return scenario.Scenario{
		Name: "soak-thousand", About: "a thousand input partitions; a worker is killed, a broker is killed, and each worker is told to stop",
		Partitions: 1000, Stateless: true, Rate: rate, Inputs: uint64(rate * d.Seconds()), Generator: small, Every: time.Second,
		Bounds: check.Bounds{Goroutines: 6000, RSS: 900 << 20},
		Play: func(ctx context.Context, r *scenario.Run) error {
			p := newPlay(r, c.Out)
			for share := 0.1; share < 1; share += 0.3 {
				if err := r.Written(ctx, share); err != nil {
					return err
				}
				for _, step := range []Step{
					{Kinds: []string{"worker-killed"}, Seed: r.Rand.Uint64(), Calm: shortCalm},
					{Kinds: []string{"broker-killed"}, Seed: r.Rand.Uint64(), Calm: shortCalm},
				} {
					if err := p.step(ctx, step); err != nil {
						return err
					}
				}
				for _, name := range workers {
					if err := p.restart(ctx, name); err != nil {
						return err
					}
				}
			}
			return r.Written(ctx, 1)
		},
	}
}

// small keeps an hour's records on the brokers' disks.
func small(g *workload.Generator) { g.MaxFiller = 400 }
