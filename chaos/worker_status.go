//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/pipeline"
)

// reporter writes a worker's statuses.
type reporter struct {
	instance, incarnation string
	process               string // both: what the names of units begin with
	stats                 pipeline.Stats
	injected, slow        func() int64
	units                 atomic.Int64
	out                   io.Writer

	mu      sync.Mutex
	aborted []string // not reported yet
}

func newReporter(instance, incarnation string, out io.Writer) *reporter {
	return &reporter{instance: instance, incarnation: incarnation, process: instance + "-" + incarnation, out: out, injected: none, slow: none}
}

func none() int64 { return 0 }

// abort notes units that were aborted.
func (w *reporter) abort(units ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = append(w.aborted, units...)
}

// start writes statuses until the function that it returns is called, with how the
// worker ended.
func (w *reporter) start(every time.Duration) (stop func(error)) {
	over, ended := make(chan struct{}), make(chan struct{})
	_, _ = w.out.Write([]byte("\n")) // a process before this one may have been killed within a line
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				w.write(w.status())
			case <-over:
				return
			}
		}
	}()
	return func(err error) {
		close(over)
		<-ended
		s := w.status()
		s.End = true
		if err != nil {
			s.Error = err.Error()
		}
		w.write(s)
	}
}

// write leaves out what cannot be written: whoever started the worker is gone then.
func (w *reporter) write(s workload.Status) {
	line, err := json.Marshal(s)
	if err == nil {
		_, _ = w.out.Write(append(line, '\n'))
	}
}

func (w *reporter) status() workload.Status {
	c := w.stats.Snapshot()
	s := workload.Status{
		At: time.Now(), Instance: w.instance, Incarnation: w.incarnation,
		Records: c.Records, Outputs: c.Outputs, Dead: c.DeadLetters, Committed: c.Committed,
		Commits: c.Commits, Aborts: c.Aborts, Sessions: c.Sessions, Recoveries: c.Recoveries,
		LastCommit: c.LastCommit, Waiting: c.Waiting, Injected: w.injected(), Slow: w.slow(),
		RSS: resident(),
	}
	for _, p := range c.Partitions {
		s.Partitions = append(s.Partitions, p.Partition)
	}
	sample := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	s.Goroutines, s.Heap = int(sample[0].Value.Uint64()), sample[1].Value.Uint64()
	w.mu.Lock()
	s.Aborted, w.aborted = w.aborted, nil
	w.mu.Unlock()
	return s
}

// resident returns the resident set in bytes, or 0 where the system does not say so.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
