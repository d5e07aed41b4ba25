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

	mu        sync.Mutex
	rest      []byte
	processes map[string]*process // by incarnation
	last      *process            // the one that has spoken last
	joined    int64
	aborted   []string
}

// process is one that the worker was started as. Only what it said last is kept: a
// long run has very many statuses.
type process struct {
	status workload.Status
	joined bool
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
			w.take(s)
		}
		w.rest = append(w.rest[:0], rest...)
	}
}

func (w *Worker) take(s workload.Status) {
	w.aborted = append(w.aborted, s.Aborted...)
	s.Aborted = nil
	p := w.processes[s.Incarnation]
	if p == nil {
		if w.processes == nil {
			w.processes = map[string]*process{}
		}
		p = new(process)
		w.processes[s.Incarnation] = p
	}
	if len(s.Partitions) > 0 && !p.joined {
		p.joined = true
		w.joined++
	}
	p.status, w.last = s, p
}

// Last returns the last status, without the units, or false if there is none.
func (w *Worker) Last() (workload.Status, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		return workload.Status{}, false
	}
	return w.last.status, true
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
	for _, p := range w.processes {
		s := &p.status
		t.Records += s.Records
		t.Outputs += s.Outputs
		t.Dead += s.Dead
		t.Committed += s.Committed
		t.Commits += s.Commits
		t.Aborts += s.Aborts
		t.Sessions += s.Sessions
		t.Recoveries += s.Recoveries
		t.Injected += s.Injected
		t.Slow += s.Slow
	}
	return t
}

// Processes is the number of processes that have said something.
func (w *Worker) Processes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.processes))
}

// Joined is the number of processes that have had partitions.
func (w *Worker) Joined() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.joined
}
