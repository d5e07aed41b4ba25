package pipeline

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/histogram"
)

// meter counts what passes the nodes and edges of the graph in one run. Its tasks
// count for themselves and add to it once for each hand-over.
//
// Behind a node that passes on all that it does not fail, nothing is counted: what is
// counted before it says it all. Each place that is counted costs 3 ns a record.
type meter struct {
	edges   []edge
	first   map[*port]int // number of a port's first edge
	passed  []atomic.Int64
	in      []atomic.Int64 // by node, for inputs
	dropped []atomic.Int64 // by node
	failed  []atomic.Int64 // by node
	times   []histogram.Histogram
	records histogram.Histogram // the whole chain
	ends    [OutcomeUnknown + 1]transactionTimes
	caches  map[int]CacheStats // by node, as of the run's start

	mu      sync.Mutex
	trouble map[string]*trouble // by stage
}

// transactionTimes are the transactions that have ended one way.
type transactionTimes struct{ took, committing, records, bytes histogram.Histogram }

// trouble is what went wrong in a stage: rare, so it is counted at once.
type trouble struct{ skipped, retries int64 }

func newMeter(p *Pipeline) *meter {
	n := len(p.nodes)
	m := &meter{
		edges: p.edges(), first: map[*port]int{}, in: make([]atomic.Int64, n), dropped: make([]atomic.Int64, n), failed: make([]atomic.Int64, n),
		times: make([]histogram.Histogram, n), caches: map[int]CacheStats{}, trouble: map[string]*trouble{},
	}
	for i, n := range p.nodes {
		if n.cfg.cache != nil {
			m.caches[i] = n.cfg.cache()
		}
	}
	m.passed = make([]atomic.Int64, len(m.edges))
	for i, e := range m.edges {
		o := e.from.ports[e.port]
		if _, ok := m.first[o]; !ok { // one node may be its consumer twice
			m.first[o] = i
		}
	}
	return m
}

// counted reports whether an edge is counted, or follows from what comes before.
func (e edge) counted() bool {
	return !e.from.cfg.oneToOne || len(e.from.ports) > 1 || len(e.from.ports[e.port].consumers) > 1
}

func (m *meter) troubled(stage string, add func(*trouble)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.trouble[stage]
	if t == nil {
		t = &trouble{}
		m.trouble[stage] = t
	}
	add(t)
}

// stages returns the counts by node.
func (m *meter) stages(p *Pipeline) []StageStats {
	all := make([]StageStats, len(p.nodes))
	for i, n := range p.nodes {
		s := &all[i]
		s.Name, s.Kind = n.name, n.label
		s.In, s.Dropped = m.in[i].Load(), m.dropped[i].Load()
		s.Time = m.times[i].Counts()
		if n.cfg.cache != nil {
			c, before := n.cfg.cache(), m.caches[i]
			c.Hits, c.Misses, c.Evictions = c.Hits-before.Hits, c.Misses-before.Misses, c.Evictions-before.Evictions
			s.Cache = &c
		}
	}
	for i, n := range m.passages(p) {
		e := m.edges[i]
		all[e.to.id].In += n
		if m.first[e.from.ports[e.port]] == i {
			all[e.from.id].Out += n
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range all {
		if t := m.trouble[all[i].Name]; t != nil {
			all[i].Skipped, all[i].Retries = t.skipped, t.retries
		}
	}
	return all
}

func (m *meter) transactionEnded(t TransactionEnd) {
	e := &m.ends[min(t.Outcome, OutcomeUnknown)]
	e.took.Add(t.Took)
	e.committing.Add(t.Committing)
	e.records.Add(time.Duration(t.Records))
	e.bytes.Add(time.Duration(t.Bytes))
}

func (m *meter) ended() (all []TransactionTotals) {
	for i := range m.ends {
		e := &m.ends[i]
		all = append(all, TransactionTotals{
			Outcome: Outcome(i), Took: e.took.Counts(), Committing: e.committing.Counts(), Records: e.records.Counts(), Bytes: e.bytes.Counts(),
		})
	}
	return all
}

// passages returns the counts by edge.
func (m *meter) passages(p *Pipeline) []int64 {
	all := make([]int64, len(m.edges))
	in := make([]int64, len(p.nodes))
	next := 0
	for i := range p.nodes { // a node's edges come in its place, and lead to later ones
		in[i] += m.in[i].Load()
		for ; next < len(m.edges) && m.edges[next].from.id == i; next++ {
			e := m.edges[next]
			if all[next] = m.passed[next].Load(); !e.counted() {
				all[next] = max(0, in[i]-m.failed[i].Load()) // what is under way may be in one of them only
			}
			in[e.to.id] += all[next]
		}
	}
	return all
}

// taskMeter counts for one task, on its goroutine. Not every record is timed: reading
// the clock around every stage takes longer than most stages do.
type taskMeter struct {
	m       *meter
	input   int   // node of the task's input
	runs    int64 // of the chain
	passed  []int64
	dropped []int64
	failed  []int64

	gap   int // records since the last that was timed, this one included
	next  int // the gap at which the next one is
	began time.Duration
	at    int // the node whose time runs, or -1
	since time.Duration
	took  []time.Duration
}

const (
	// timingBudget: a record is timed after the ones before have taken so long, which
	// keeps the cost, 0.1 µs for each node and what observers add, below one percent. Slower ones are all timed.
	timingBudget = time.Millisecond
	maxTimingGap = 1024
)

func (m *meter) task(input *node) *taskMeter {
	n := len(m.in)
	return &taskMeter{
		m: m, input: input.id, passed: make([]int64, len(m.edges)), dropped: make([]int64, n), failed: make([]int64, n), next: 1, at: -1,
	}
}

var clock = time.Now()

// begin is called before a record's chain and reports whether it is timed.
func (m *taskMeter) begin() bool {
	m.gap++
	if m.gap < m.next {
		return false
	}
	m.began = time.Since(clock)
	return true
}

// end is called after the chain of a record that is timed.
func (m *taskMeter) end() {
	m.enter(-1)
	d := m.since - m.began
	m.m.records.AddN(d, int64(m.gap))
	m.took = append(m.took, d)
	// At random around the gap that the budget allows, so as not to fall into step with
	// the input.
	gap := int(min(timingBudget/max(d, 1), maxTimingGap))
	m.gap, m.next = 0, 1
	if gap > 1 {
		m.next = gap/2 + rand.IntN(gap)
	}
}

// enter says that a node's code runs from now on, which ends the time of the one before.
func (m *taskMeter) enter(node int) {
	now := time.Since(clock)
	if m.at >= 0 {
		m.m.times[m.at].AddN(now-m.since, int64(m.gap))
	}
	m.at, m.since = node, now
}

// flush adds what was counted to the run's counters.
func (m *taskMeter) flush() {
	m.m.in[m.input].Add(m.runs)
	move(m.failed, m.m.failed)
	move(m.passed, m.m.passed)
	move(m.dropped, m.m.dropped)
	m.runs, m.took = 0, m.took[:0]
}

func move(from []int64, to []atomic.Int64) {
	for i, n := range from {
		if n != 0 {
			to[i].Add(n)
			from[i] = 0
		}
	}
}

// forget drops what was counted: it will be replayed.
func (m *taskMeter) forget() {
	clear(m.passed)
	clear(m.dropped)
	clear(m.failed)
	m.runs, m.took = 0, m.took[:0]
}

// metered counts what goes over an edge.
func metered[T any](m *taskMeter, edge int, entry any) any {
	next, n := entry.(Next[T]), &m.passed[edge]
	return Next[T](func(ctx context.Context, r *Record[T]) error {
		*n++
		return next(ctx, r)
	})
}
