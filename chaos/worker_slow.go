//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// slow has the next record take long when SIGUSR1 comes. The zero value and nil have
// none take long.
type slow struct {
	told chan os.Signal
	time time.Duration
}

func listenForSlow(d time.Duration) *slow {
	s := &slow{told: make(chan os.Signal, 1), time: d}
	signal.Notify(s.told, syscall.SIGUSR1)
	return s
}

func (s *slow) close() { signal.Stop(s.told) }

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
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
