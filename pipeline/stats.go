package pipeline

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/histogram"
)

// Stats is a handle on a running pipeline's counters: give it to [Run] with
// Observe. The zero value is ready; its methods may be called at any time from
// any goroutine.
type Stats struct {
	records, inputBytes, outputs, outputBytes atomic.Int64
	deadLetters, retriedLater, skipped        atomic.Int64
	behind                                    atomic.Int64
	committed, commits, aborts, sessions      atomic.Int64
	recoveries                                atomic.Int64
	lastCommit                                atomic.Int64 // unix ns
	waiting                                   atomic.Int64
	phase                                     atomic.Int32

	mu       sync.Mutex
	worker   *Worker
	tableLag TableLagger      // or nil
	lag      LagMeter         // or nil
	failing  InterceptorMeter // or nil
	reasons  map[string]int64 // of aborts
	unknown  map[string]int64 // of transactions whose outcome is not known
}

// Phase is how far a run has come.
type Phase int32

const (
	// PhaseNone: it has not begun.
	PhaseNone Phase = iota
	// PhaseOpening: it connects and prepares the serdes.
	PhaseOpening
	// PhaseLoading: it loads tables.
	PhaseLoading
	// PhaseJoining: it has no session: it joins, or its producer is initialised.
	PhaseJoining
	// PhaseRunning: it has a session. It may own no partitions.
	PhaseRunning
	// PhaseStopping: it stops in order.
	PhaseStopping
	// PhaseEnded: it has ended.
	PhaseEnded
)

// String returns a word.
func (p Phase) String() string {
	return [...]string{"not started", "opening", "loading tables", "joining", "running", "stopping", "ended"}[min(max(p, 0), PhaseEnded)]
}

// Snapshot is the state of a [Stats] at one time. Counters count from the start
// of the run; what is replayed is counted again, except in Committed.
type Snapshot struct {
	// At is when it was taken, Phase how far the run had come.
	At    time.Time
	Phase Phase
	// Records is the number of input records processed, InputBytes the sum of
	// their keys, values and headers.
	Records, InputBytes int64
	// Outputs is the number of output records staged, without dead letters.
	Outputs, OutputBytes int64
	// DeadLetters, RetriedLater and Skipped count records that met these policies; a record
	// whose retries are used up is a dead letter.
	DeadLetters, RetriedLater, Skipped int64
	// Behind counts records that went to the retry topic untried, behind an earlier one of
	// their key (see [RetryInOrder]).
	Behind int64
	// DeadLettersByStage is DeadLetters by the stage that refused the record,
	// RetriedLaterByStage is RetriedLater.
	DeadLettersByStage, RetriedLaterByStage map[string]int64
	// Committed is the number of input records whose position is committed.
	Committed int64
	// Commits and Aborts count transactions; at least once, commits of offsets.
	Commits, Aborts int64
	// AbortsByReason is Aborts by what failed, UnknownByReason counts transactions
	// whose outcome is not known; the words are those of TransactionEnd.Reason.
	AbortsByReason, UnknownByReason map[string]int64
	// Sessions counts group sessions, Recoveries new initialisations of the
	// producer.
	Sessions, Recoveries int64
	// LastCommit is the time of the last commit, or zero.
	LastCommit time.Time
	// UncommittedSince is since when there is finished work that is not committed, or
	// zero. An abort leaves it as it is.
	UncommittedSince time.Time
	// Transaction is the open one.
	Transaction TransactionStats
	// Transactions are those that have ended, by Outcome; of a run with [Observers],
	// else empty.
	Transactions []TransactionTotals
	// InterceptorFailures counts errors and panics of the sink's interceptors.
	InterceptorFailures int64
	// Waiting is the number of partitions whose stage waits to try again.
	Waiting int64
	// Partitions are the input partitions owned now, Claims the same with their state.
	Partitions []Partition
	Claims     []PartitionStats
	// Stages are the nodes of the graph, in the order of Topology.Nodes, Passed the
	// records that went over the edges, in the order of Topology.Edges. They and
	// RecordTime are of a run with [Observers], else empty.
	Stages []StageStats
	Passed []int64
	// RecordTime is how long records took from their chain's begin to its end, the
	// waits of stages that try again included.
	RecordTime Distribution
	// Tables are the sizes of the pipeline's tables by topic, and of the marks of records that
	// wait to be retried in order.
	Tables map[string]TableStats
}

// TransactionStats is the open transaction; its zero value says that none is, or
// that it holds no records yet.
type TransactionStats struct {
	// Began is the time of its first hand-over.
	Began time.Time
	// Records is the number of input records in it, Bytes the keys and values of
	// input and output.
	Records, Bytes int64
}

// TransactionTotals are the transactions that have ended one way.
type TransactionTotals struct {
	Outcome Outcome
	// Took and Committing are TransactionEnd's.
	Took, Committing Distribution
	// Records and Bytes are, too: plain numbers in the place of nanoseconds.
	Records, Bytes Distribution
}

// StageStats are the counters of one node of the graph.
type StageStats struct {
	Name, Kind string
	// In is the number of records that entered it, Out of those that it passed on; with
	// several streams, those of all. An output passes nothing on. What a middleware runs
	// again is counted again.
	In, Out int64
	// Dropped are those that it let end on purpose, as a filter does.
	Dropped int64
	// DeadLetters, RetriedLater and Skipped count input records that failed here, Retries
	// how often it waited to try again in place.
	DeadLetters, RetriedLater, Skipped, Retries int64
	// Time is how long it took by itself: from its Enter to that of the next stage.
	Time Distribution
	// Cache is that of a stage that looks up in one, else nil. Its counters are of the
	// run, and of others that use the cache meanwhile.
	Cache *CacheStats
}

// Distribution is how a number of durations is distributed. Short ones are not all
// measured but estimated from a part, see [ProcessingObserver].
type Distribution = histogram.Counts

// TableStats is the size of a table.
type TableStats struct {
	Entries int
	// Bytes is the sum of the serialized keys and values.
	Bytes int64
	// Lag is how many offsets the table is behind its topic; -1 if the source
	// does not know.
	Lag int64
}

// Snapshot returns the counters as of now. It takes locks for a moment and
// allocates: some tens of microseconds, and some kilobytes for each stage and about 100
// bytes for each partition. Only a run with [Observers] counts its stages: that takes
// about 3 ns of a record for each branch and each stage that is not [OneToOne].
func (s *Stats) Snapshot() Snapshot {
	out := Snapshot{
		At: time.Now(), Phase: Phase(s.phase.Load()),
		Records: s.records.Load(), InputBytes: s.inputBytes.Load(),
		Outputs: s.outputs.Load(), OutputBytes: s.outputBytes.Load(),
		DeadLetters: s.deadLetters.Load(), RetriedLater: s.retriedLater.Load(), Behind: s.behind.Load(), Skipped: s.skipped.Load(),
		Committed: s.committed.Load(), Commits: s.commits.Load(), Aborts: s.aborts.Load(),
		Sessions: s.sessions.Load(), Recoveries: s.recoveries.Load(), Waiting: s.waiting.Load(),
		LastCommit: unixNano(s.lastCommit.Load()), Tables: map[string]TableStats{},
	}
	s.mu.Lock()
	w, tableLag, lag, failing := s.worker, s.tableLag, s.lag, s.failing
	out.AbortsByReason, out.UnknownByReason = maps.Clone(s.reasons), maps.Clone(s.unknown)
	s.mu.Unlock()
	if failing != nil {
		out.InterceptorFailures = failing.InterceptorFailures()
	}
	if w == nil {
		return out
	}
	w.dead.mu.Lock()
	out.DeadLettersByStage, out.RetriedLaterByStage = maps.Clone(w.dead.byStage), maps.Clone(w.dead.later)
	w.dead.mu.Unlock()
	out.UncommittedSince = unixNano(w.uncommittedSince.Load())
	out.Transaction = TransactionStats{Began: unixNano(w.pendingSince.Load()), Records: w.records.Load(), Bytes: w.bytes.Load()}
	sized := func(topic string, entries int, bytes int64) {
		behind := int64(-1)
		if tableLag != nil {
			if l, ok := tableLag.TableLag(topic); ok {
				behind = l
			}
		}
		out.Tables[topic] = TableStats{Entries: entries, Bytes: bytes, Lag: behind}
	}
	for _, t := range w.p.tables {
		n, bytes := t.stats()
		sized(t.topicName(), n, bytes)
	}
	for _, m := range w.marks {
		n, bytes := m.size()
		sized(m.topic, n, bytes)
	}
	if live := w.live.Load(); live != nil {
		for _, c := range *live {
			out.Partitions = append(out.Partitions, c.part)
			out.Claims = append(out.Claims, c.measure(lag))
		}
	}
	if m := w.meter; m != nil {
		out.Stages, out.Passed, out.RecordTime = m.stages(w.p), m.passages(w.p), m.records.Counts()
		out.Transactions = m.ended()
		for i := range out.Stages {
			out.Stages[i].DeadLetters = out.DeadLettersByStage[out.Stages[i].Name]
			out.Stages[i].RetriedLater = out.RetriedLaterByStage[out.Stages[i].Name]
		}
	}
	return out
}

func unixNano(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func (s *Stats) attach(w *Worker, source Source, sink Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker = w
	s.tableLag, _ = source.(TableLagger)
	s.lag, _ = source.(LagMeter)
	s.failing, _ = sink.(InterceptorMeter)
}

// failed counts a transaction that was not committed, or is not known to be.
func (s *Stats) failed(outcome Outcome, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reasons == nil {
		s.reasons, s.unknown = map[string]int64{}, map[string]int64{}
	}
	if outcome == Aborted {
		s.reasons[reason]++
	} else {
		s.unknown[reason]++
	}
}

// add moves a task's counts into the shared counters.
func (s *Stats) add(c *taskCounts) {
	s.records.Add(c.records)
	s.inputBytes.Add(c.inputBytes)
	s.outputs.Add(c.outputs)
	s.outputBytes.Add(c.outputBytes)
	if c.deadLetters > 0 {
		s.deadLetters.Add(c.deadLetters)
	}
	if c.retriedLater > 0 {
		s.retriedLater.Add(c.retriedLater)
	}
	if c.behind > 0 {
		s.behind.Add(c.behind)
	}
	if c.skipped > 0 {
		s.skipped.Add(c.skipped)
	}
	*c = taskCounts{}
}
