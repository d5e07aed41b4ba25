package console

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// run is one run of a pipeline, as the console knows it.
type run struct {
	id      int
	of      *pipeline.Running
	graph   graph
	fixed   json.RawMessage // Graph and Settings of RunState, which do not change
	began   time.Time
	letters letters

	stop    chan struct{} // closed: no more samples
	stopped chan struct{} // closed: the goroutine has returned

	mu      sync.Mutex
	past    history
	commits watch
	last    lastTransaction
	ended   time.Time // zero while it runs
	err     error
	final   pipeline.Snapshot // when it has ended
}

// lastTransaction is the last one that held records.
type lastTransaction struct {
	at               time.Time
	outcome          string
	records          int64
	took, committing time.Duration
}

func newRun(id int, r *pipeline.Running, payloads bool) *run {
	x := &run{
		id: id, of: r, graph: layout(r.Pipeline.Topology()), began: time.Now(),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	x.letters = letters{pipeline: r.Pipeline, payloads: payloads}
	x.fixed = fixedPart(x.graph, r.Settings)
	return x
}

// start begins to take samples, until end.
func (x *run) start() {
	go func() {
		defer close(x.stopped)
		t := time.NewTicker(sampleEvery)
		defer t.Stop()
		for {
			x.sample()
			select {
			case <-t.C:
			case <-x.stop:
				return
			}
		}
	}()
}

func (x *run) sample() {
	s := x.of.Stats.Snapshot()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.past.add(sampleOf(&s))
	x.commits.see(&s)
}

func (x *run) end(err error) {
	close(x.stop)
	<-x.stopped
	s := x.of.Stats.Snapshot()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended, x.err, x.final = time.Now(), err, s
}

// now returns the run's counters as of now, or of its end, and what has been noted.
func (x *run) now() view {
	x.mu.Lock()
	ended := !x.ended.IsZero()
	s := x.final
	x.mu.Unlock()
	if !ended {
		s = x.of.Stats.Snapshot()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	v := view{Snapshot: s, interval: x.of.CommitInterval, last: x.last, ended: x.ended, err: x.err}
	if !x.ended.IsZero() {
		v.Snapshot = x.final
	} else {
		x.commits.see(&s)
		v.since = x.past.before(s.At, rateWindow)
		v.minute = x.past.before(s.At, recentWindow)
	}
	v.commits = x.commits
	v.curve = x.past.curve()
	return v
}

// view is a run at one time.
type view struct {
	pipeline.Snapshot
	interval time.Duration
	since    *sample // of the begin of the window of rates, or nil
	minute   *sample // of the begin of what is recent, or nil
	curve    []int64
	commits  watch
	last     lastTransaction
	ended    time.Time
	err      error
}

func (x *run) over() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.ended.IsZero()
}

func (x *run) failure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *run) transactionEnded(t pipeline.TransactionEnd) {
	if t.Records == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = lastTransaction{time.Now(), t.Outcome.String(), t.Records, t.Took, t.Committing}
}
