package history

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Worker takes the lines that a worker writes: it is its process's standard output.
// The processes that a worker is restarted as may write to one Worker after another.
// It is safe for concurrent use.
type Worker struct {
	// Name is for reports.
	Name string

	mu       sync.Mutex
	rest     []byte
	statuses []workload.Status
	aborted  []string
}

// Write takes a part of the output. Lines that are no status, such as one that a kill
// has cut, are dropped.
func (w *Worker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		var s workload.Status
		if json.Unmarshal(line, &s) == nil && !s.At.IsZero() {
			w.aborted = append(w.aborted, s.Aborted...)
			s.Aborted = nil
			w.statuses = append(w.statuses, s)
		}
		w.rest = append(w.rest[:0], rest...)
	}
}

// Statuses returns all statuses so far, without the units.
func (w *Worker) Statuses() []workload.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.statuses)
}

// Last returns the last status, or false if there is none.
func (w *Worker) Last() (workload.Status, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.statuses) == 0 {
		return workload.Status{}, false
	}
	return w.statuses[len(w.statuses)-1], true
}

// Aborted returns the units that were aborted.
func (w *Worker) Aborted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.aborted)
}

// Total adds up the counters of all processes.
func (w *Worker) Total() (t workload.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[string]workload.Status{}
	for _, s := range w.statuses {
		last[s.Incarnation] = s
	}
	for _, s := range last {
		t.Records += s.Records
		t.Outputs += s.Outputs
		t.Dead += s.Dead
		t.Committed += s.Committed
		t.Commits += s.Commits
		t.Aborts += s.Aborts
		t.Sessions += s.Sessions
		t.Recoveries += s.Recoveries
		t.Injected += s.Injected
	}
	return t
}

// Processes is the number of processes that have said something.
func (w *Worker) Processes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]bool{}
	for _, s := range w.statuses {
		seen[s.Incarnation] = true
	}
	return int64(len(seen))
}
