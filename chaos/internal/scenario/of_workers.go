//go:build unix

package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// ofWorkers are the scenarios in which workers are harmed, or are many and few by turns.
var ofWorkers = []Scenario{
	{
		Name: "aborts", About: "a third of the transactions fail, in their midst or at their end",
		Flags: []string{"-aborts", "0.33"}, Play: aborts,
	},
	{
		Name: "aborts-stateless", About: "the same, with a pipeline none of whose stages has state",
		Flags: []string{"-aborts", "0.33", "-manifest=false"}, Stateless: true, Play: aborts,
	},
	{
		Name: "kill-worker", About: "kill -9 of a worker, five times",
		Play: func(ctx context.Context, r *Run) error {
			for i := range 5 {
				if err := r.crash(ctx, float64(i+1)/7); err != nil {
					return err
				}
			}
			r.MustReach("workers killed", 5, r.kills)
			return nil
		},
	},
	{
		Name: "stop-worker", About: "SIGSTOP of a worker until its session and its transaction are timed out, then SIGCONT",
		Flags: []string{"-transaction-timeout", "6s"},
		Play:  func(ctx context.Context, r *Run) error { return r.freeze(ctx, 0.2) },
	},
	{
		Name: "zombie", About: "SIGSTOP of a worker until others have its partitions, with its transaction still open; then SIGCONT, three times over",
		Flags: []string{"-transaction-timeout", "40s"},
		Play: func(ctx context.Context, r *Run) error {
			for i := range 3 {
				if err := r.freeze(ctx, 0.1+0.25*float64(i)); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		Name: "scale-cooperative", About: "one worker, three, one, three times over, with cooperative rebalances",
		Workers: 1, Flags: []string{"-assignment", "cooperative"}, Play: scale,
	},
	{
		Name: "scale-eager", About: "the same with eager ones, and workers without instance names",
		Workers: 1, Dynamic: true, Flags: []string{"-assignment", "range"}, Play: scale,
	},
	{
		Name: "revoke-in-commit", About: "a partition is taken from a worker whose positions are on their way to a broker, and must not be given away before they are there",
		Workers: 1, Flags: []string{"-assignment", "cooperative"},
		Play: func(ctx context.Context, r *Run) error {
			if err := r.Written(ctx, 0.3); err != nil {
				return err
			}
			hold := r.Cluster.Proxy().Hold(r.requests("w0", r.firstOfPositions(), 1))
			if err := hold.Wait(ctx, 1); err != nil {
				return err
			}
			healed := r.Fault("w1 joins while w0 commits")
			if err := r.Launch("w1", "w1"); err != nil {
				return err
			}
			early, cancel := context.WithTimeout(ctx, 5*time.Second) // time to be wrong in
			defer cancel()
			_ = r.Owning(early, "w1")
			answers, err := hold.Release(ctx)
			if err != nil {
				return err
			}
			r.MustReach("positions that outlasted a rebalance", 1, func() int64 { return int64(len(answers)) })
			if err := r.Owning(ctx, "w1"); err != nil {
				return err
			}
			return r.Healing(ctx, healed)
		},
	},
	{
		Name: "same-id", About: "a second worker under the same instance name, so with the same transactional id",
		Workers: 2,
		Play: func(ctx context.Context, r *Run) error {
			if err := r.Written(ctx, 0.3); err != nil {
				return err
			}
			// Either may be the one that gives up, and must do so in words.
			r.MayFail("w0")
			defer r.Fault("two workers are w0")()
			if err := r.Launch("twin", "w0"); err != nil {
				return err
			}
			r.MayFail("twin")
			if err := r.Await(ctx, "one of the two to give up", func() bool {
				return !r.worker("w0").Running() || !r.worker("twin").Running()
			}); err != nil {
				return err
			}
			r.MustReach("workers that gave up", 1, func() (n int64) {
				for _, name := range []string{"w0", "twin"} {
					if s, ok := r.recorder.Worker(name).Last(); ok && s.End && s.Error != "" {
						n++
					}
				}
				return n
			})
			return r.Progress(ctx)
		},
	},
}

// crash kills a worker when a share of the input is written, and starts it anew.
func (r *Run) crash(ctx context.Context, share float64) error {
	if err := r.Written(ctx, share); err != nil {
		return err
	}
	name := r.Any()
	healed := r.Fault("kill -9 of " + name)
	if err := r.Kill(name); err != nil {
		return err
	}
	if err := r.Start(ctx, name); err != nil {
		return err
	}
	healed()
	return nil
}

// freeze stops a worker that is at work for longer than its session lasts, and waits
// until it has found out and come back.
func (r *Run) freeze(ctx context.Context, share float64) error {
	if err := r.Written(ctx, share); err != nil {
		return err
	}
	name := r.Any()
	if err := r.Committing(ctx, name, 1); err != nil {
		return err
	}
	before := r.sessions(name)
	healed := r.Fault("SIGSTOP of " + name)
	if err := r.Freeze(name); err != nil {
		return err
	}
	if err := r.Last(ctx, SessionTimeout+4*time.Second); err != nil {
		return err
	}
	if err := r.Thaw(name); err != nil {
		return err
	}
	healed()
	r.MustReach("sessions of the frozen worker", before+1, func() int64 { return r.sessions(name) })
	return r.Await(ctx, "a new session of worker "+name, func() bool { return r.sessions(name) > before && r.Partitions(name) > 0 })
}

func aborts(ctx context.Context, r *Run) error {
	r.MustReach("transactions made to fail", r.Scaled(20), func() int64 {
		return r.sum(func(s workload.Status) int64 { return s.Injected })
	})
	return r.Written(ctx, 1)
}

func scale(ctx context.Context, r *Run) error {
	share := 0.1
	for round := range 3 {
		for _, name := range []string{"w1", "w2"} {
			if err := r.Start(ctx, name); err != nil {
				return err
			}
		}
		share += 0.13
		if err := r.Written(ctx, share); err != nil {
			return err
		}
		for _, name := range []string{"w1", "w2"} {
			if err := r.Terminate(ctx, name); err != nil {
				return err
			}
		}
		// Those of a static member follow when its session is over.
		if err := r.Await(ctx, "all partitions to be with worker w0", func() bool { return r.Partitions("w0") == InputPartitions }); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		share += 0.13
		if err := r.Written(ctx, share); err != nil {
			return err
		}
	}
	r.MustReach("times that a worker joined", 7, r.joins)
	return nil
}

func (r *Run) kills() (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.started {
		if w.killed.Load() {
			n++
		}
	}
	return n
}

// joins is the number of processes that had partitions.
func (r *Run) joins() (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.workers {
		n += r.recorder.Worker(name).Joined()
	}
	return n
}

func (r *Run) sessions(name string) int64 { return r.recorder.Worker(name).Total().Sessions }
