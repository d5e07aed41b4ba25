package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

const progressEvery = 500 * time.Millisecond

// showProgress writes a line about a running pipeline twice a second until the
// function that it returns is called.
func showProgress(w io.Writer, stats *pipeline.Stats) (stop func()) {
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		before := int64(0)
		for {
			select {
			case <-done:
				return
			case <-t.C:
			}
			s := stats.Snapshot()
			fmt.Fprintf(w, "%s orders committed (%s/s), %s dead letters, %d partitions, %s customers known",
				thousands(s.Committed), thousands(int64(float64(s.Committed-before)/progressEvery.Seconds())),
				thousands(s.DeadLetters), len(s.Partitions), thousands(int64(s.Tables["customers"].Entries)))
			if s.Waiting > 0 {
				fmt.Fprintf(w, ", %d partitions wait for the registry", s.Waiting)
			}
			fmt.Fprintln(w)
			before = s.Committed
		}
	})
	return func() {
		close(done)
		showing.Wait()
	}
}

// thousands writes a number with commas.
func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
