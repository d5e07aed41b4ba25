//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// slow has the next record take long when SIGUSR1 comes; nil has none.
type slow struct {
	told chan os.Signal
	time time.Duration
	n    atomic.Int64
}

func listenForSlow(d time.Duration) *slow {
	s := &slow{told: make(chan os.Signal, 1), time: d}
	signal.Notify(s.told, syscall.SIGUSR1)
	return s
}

func (s *slow) close() { signal.Stop(s.told) }

// count is how many records have taken long, to their end.
func (s *slow) count() int64 {
	if s == nil {
		return 0
	}
	return s.n.Load()
}

// pass is called for each record.
func (s *slow) pass(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case <-s.told:
	default:
		return nil
	}
	select {
	case <-time.After(s.time):
		s.n.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
