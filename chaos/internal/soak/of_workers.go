//go:build unix

package soak

import (
	"context"
	"errors"
	"time"

	"github.com/leat-stream/leat/chaos/internal/scenario"
)

var workerKinds = []kind{
	{
		name: "worker-killed", about: "kill -9 of a worker, and a new start", of: ofWorkers,
		do: func(ctx context.Context, s *strike) error {
			name, release := s.worker()
			defer release()
			defer s.breaks("kill -9 of %s", name)()
			if err := s.Kill(name); err != nil {
				return err
			}
			return s.start(ctx, name)
		},
	},
	{
		name: "workers-killed", about: "kill -9 of all workers at once, and a new start", of: ofWorkers,
		do: func(ctx context.Context, s *strike) error {
			defer s.allWorkers()()
			defer s.breaks("kill -9 of all workers")()
			for _, name := range workers {
				if err := s.Kill(name); err != nil {
					return err
				}
			}
			return s.start(ctx, workers...)
		},
	},
	{
		name: "worker-stopped", about: "SIGSTOP of a worker past the time-outs of its session and its transaction, then SIGCONT", of: ofWorkers,
		do: func(ctx context.Context, s *strike) error {
			name, release := s.worker()
			defer release()
			defer s.breaks("SIGSTOP of %s", name)()
			if err := s.Freeze(name); err != nil {
				return err
			}
			if err := errors.Join(s.Last(ctx, scenario.TransactionTimeout+s.seconds(2, 8)), s.Thaw(name)); err != nil {
				return err
			}
			return s.Owning(ctx, name)
		},
	},
	{
		name: "worker-slow", about: "a worker takes longer for a record than its transaction may last", of: ofWorkers,
		do: func(ctx context.Context, s *strike) error {
			name, release := s.worker()
			defer release()
			defer s.breaks("a slow record of %s", name)()
			// No transaction is open while a record is in the midst of the pipeline and
			// nothing else is to be committed: none need be aborted.
			before := s.Slow(name)
			if err := s.Stall(name); err != nil {
				return err
			}
			return s.Await(ctx, "the slow record of worker "+name, func() bool { return s.Slow(name) > before })
		},
	},
}

// worker chooses a worker, and has nobody else do something to it until it is released.
func (s *strike) worker() (name string, release func()) {
	name = workers[s.rand.IntN(len(workers))]
	s.hands[name].Lock()
	return name, s.hands[name].Unlock
}

// allWorkers is the same for all of them.
func (s *strike) allWorkers() (release func()) {
	for _, name := range workers {
		s.hands[name].Lock()
	}
	return func() {
		for _, name := range workers {
			s.hands[name].Unlock()
		}
	}
}

// revive waits until each worker has ended or is well again, starts those anew that have
// ended, and allows it no more. The caller has all of them, and they may fail.
func (s *strike) revive(ctx context.Context) error {
	for _, name := range workers {
		before := s.Commits(name)
		if err := s.within(ctx, time.Minute, func(ctx context.Context) error {
			return s.Await(ctx, "commits or the end of worker "+name, func() bool { return s.Commits(name) > before || !s.Running(name) })
		}); err != nil {
			return err
		}
		if s.MustNotFail(name) {
			continue
		}
		s.MayFail(name) // it did so in time
		if err := s.start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
