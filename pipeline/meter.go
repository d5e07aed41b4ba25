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
type meter struct {
	edges   []edge
	first   map[*port]int // number of a port's first edge
	passed  []atomic.Int64
	in      []atomic.Int64 // by node, for inputs
	dropped []atomic.Int64 // by node
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
		edges: p.edges(), first: map[*port]int{}, in: make([]atomic.Int64, n), dropped: make([]atomic.Int64, n),
		times: make([]histogram.Histogram, n), caches: map[int]CacheStats{}, trouble: map[string]*trouble{},
	}
	for i, n := range p.nodes {
		if n.cfg.cache != nil {
			m.caches[i] = n.cfg.cache()
		}
	}
	m.passed = make([]atomic.Int64, len(m.edges))
	for i, e := range m.edges {
		if o := e.from.ports[e.port]; o.consumers[0] == e.to {
			m.first[o] = i
		}
	}
	return m
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
	for i, e := range m.edges {
		n := m.passed[i].Load()
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

func (m *meter) ended() (all []TransactionsStats) {
	for i := range m.ends {
		e := &m.ends[i]
		all = append(all, TransactionsStats{
			Outcome: Outcome(i), Took: e.took.Counts(), Committing: e.committing.Counts(), Records: e.records.Counts(), Bytes: e.bytes.Counts(),
		})
	}
	return all
}

func (m *meter) passages() []int64 {
	all := make([]int64, len(m.passed))
	for i := range all {
		all[i] = m.passed[i].Load()
	}
	return all
}

// taskMeter counts for one task, on its goroutine. Not every record is timed: reading
// the clock around every stage takes longer than most stages do.
type taskMeter struct {
	m       *meter
	input   int // node of the task's input
	passed  []int64
	dropped []int64

	timing bool // the current record is timed
	gap    int  // records since the last that was, this one included
	next   int  // the gap at which the next one is
	began  time.Duration
	inner  time.Duration // spent in the nodes below the current one
	took   []time.Duration
}

const (
	// timingBudget: a record is timed after the ones before have taken so long, which
	// keeps the cost, 0.1 µs for each node and what observers add, below one percent. Slower ones are all timed.
	timingBudget = time.Millisecond
	maxTimingGap = 1024
)

func (m *meter) task(input *node) *taskMeter {
	return &taskMeter{m: m, input: input.id, passed: make([]int64, len(m.edges)), dropped: make([]int64, len(m.in)), next: 1}
}

var clock = time.Now()

// begin is called before a record's chain.
func (m *taskMeter) begin() {
	m.gap++
	if m.gap < m.next {
		return
	}
	m.timing, m.inner = true, 0
	m.began = time.Since(clock)
}

// end is called after it.
func (m *taskMeter) end() {
	if !m.timing {
		return
	}
	m.timing = false
	d := time.Since(clock) - m.began
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

func (m *taskMeter) enter() (began, outer time.Duration) {
	outer, m.inner = m.inner, 0
	return time.Since(clock), outer
}

func (m *taskMeter) leave(node int, began, outer time.Duration) {
	d := time.Since(clock) - began
	m.m.times[node].AddN(d-m.inner, int64(m.gap))
	m.inner = outer + d
}

// timed times the chain's first node, which no edge leads to.
func (m *taskMeter) timed(node int, entry Next[[]byte]) Next[[]byte] {
	return func(ctx context.Context, r *Raw) error {
		if !m.timing {
			return entry(ctx, r)
		}
		began, outer := m.enter()
		err := entry(ctx, r)
		m.leave(node, began, outer)
		return err
	}
}

// flush adds what was counted to the run's counters.
func (m *taskMeter) flush(records int64) {
	m.m.in[m.input].Add(records)
	for i, n := range m.passed {
		if n != 0 {
			m.m.passed[i].Add(n)
			m.passed[i] = 0
		}
	}
	for i, n := range m.dropped {
		if n != 0 {
			m.m.dropped[i].Add(n)
			m.dropped[i] = 0
		}
	}
	m.took = m.took[:0]
}

// forget drops what was counted: it will be replayed.
func (m *taskMeter) forget() {
	clear(m.passed)
	clear(m.dropped)
	m.took = m.took[:0]
}

// metered counts and times what enters a node.
func metered[T any](m *taskMeter, edge, to int, entry any) any {
	next, n := entry.(Next[T]), &m.passed[edge]
	return Next[T](func(ctx context.Context, r *Record[T]) error {
		*n++
		if !m.timing {
			return next(ctx, r)
		}
		began, outer := m.enter()
		err := next(ctx, r)
		m.leave(to, began, outer)
		return err
	})
}
