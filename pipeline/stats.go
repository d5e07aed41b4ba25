package pipeline

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a handle on a running pipeline's counters: give it to [Run] with
// Observe. The zero value is ready; its methods may be called at any time from
// any goroutine.
type Stats struct {
	records, inputBytes, outputs, outputBytes atomic.Int64
	deadLetters, skipped                      atomic.Int64
	committed, commits, aborts, sessions      atomic.Int64
	recoveries                                atomic.Int64
	lastCommit                                atomic.Int64 // unix ns
	waiting                                   atomic.Int64

	mu     sync.Mutex
	dead   *deadLetterMeter
	tables []tableNode
	claims func() []Partition
	lag    TableLagger      // or nil
	failed InterceptorMeter // or nil
}

// Snapshot is the state of a [Stats] at one time. Counters count from the start
// of the run; what is replayed is counted again, except in Committed.
type Snapshot struct {
	// Records is the number of input records processed, InputBytes the sum of
	// their keys, values and headers.
	Records, InputBytes int64
	// Outputs is the number of output records staged, without dead letters.
	Outputs, OutputBytes int64
	// DeadLetters and Skipped count records that met these policies.
	DeadLetters, Skipped int64
	// DeadLettersByStage is DeadLetters by the stage that refused the record.
	DeadLettersByStage map[string]int64
	// Committed is the number of input records whose position is committed.
	Committed int64
	// Commits and Aborts count transactions; at least once, commits of offsets.
	Commits, Aborts int64
	// Sessions counts group sessions, Recoveries new initialisations of the
	// producer.
	Sessions, Recoveries int64
	// LastCommit is the time of the last commit, or zero.
	LastCommit time.Time
	// InterceptorFailures counts errors and panics of the sink's interceptors.
	InterceptorFailures int64
	// Waiting is the number of partitions whose stage waits to try again.
	Waiting int64
	// Partitions are the input partitions owned now.
	Partitions []Partition
	// Tables are the sizes of the pipeline's tables by topic.
	Tables map[string]TableStats
}

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
// allocates.
func (s *Stats) Snapshot() Snapshot {
	out := Snapshot{
		Records: s.records.Load(), InputBytes: s.inputBytes.Load(),
		Outputs: s.outputs.Load(), OutputBytes: s.outputBytes.Load(),
		DeadLetters: s.deadLetters.Load(), Skipped: s.skipped.Load(),
		Committed: s.committed.Load(), Commits: s.commits.Load(), Aborts: s.aborts.Load(),
		Sessions: s.sessions.Load(), Recoveries: s.recoveries.Load(), Waiting: s.waiting.Load(),
		Tables: map[string]TableStats{},
	}
	if ns := s.lastCommit.Load(); ns != 0 {
		out.LastCommit = time.Unix(0, ns)
	}
	s.mu.Lock()
	dead, tables, claims, lagger, failed := s.dead, s.tables, s.claims, s.lag, s.failed
	s.mu.Unlock()
	if dead != nil {
		dead.mu.Lock()
		out.DeadLettersByStage = maps.Clone(dead.byStage)
		dead.mu.Unlock()
	}
	for _, t := range tables {
		n, bytes := t.stats()
		lag := int64(-1)
		if lagger != nil {
			if l, ok := lagger.TableLag(t.topicName()); ok {
				lag = l
			}
		}
		out.Tables[t.topicName()] = TableStats{Entries: n, Bytes: bytes, Lag: lag}
	}
	if failed != nil {
		out.InterceptorFailures = failed.InterceptorFailures()
	}
	if claims != nil {
		out.Partitions = claims()
	}
	return out
}

func (s *Stats) attach(dead *deadLetterMeter, tables []tableNode, claims func() []Partition, source Source, sink Sink) {
	s.mu.Lock()
	s.dead, s.tables, s.claims = dead, tables, claims
	s.lag, _ = source.(TableLagger)
	s.failed, _ = sink.(InterceptorMeter)
	s.mu.Unlock()
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
	if c.skipped > 0 {
		s.skipped.Add(c.skipped)
	}
	*c = taskCounts{}
}
