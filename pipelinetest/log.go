package pipelinetest

import (
	"github.com/leat-stream/leat/pipeline"
)

// topicLog is a topic: an append-only log for each partition.
type topicLog struct {
	Topic
	partitions []*partitionLog
}

type partitionLog struct {
	part    pipeline.Partition
	entries []entry // by offset
	stable  int64   // the last stable offset, as of the last look
}

// entry is one offset of a log: a record, or the marker that ends a transaction.
type entry struct {
	pipeline.Raw // its Origin is its own place
	// from is the input record that a pipeline made it of.
	from pipeline.Origin
	// spread tells that the sink was free to choose the partition.
	spread  bool
	control bool
	txn     *txn // nil: written outside any transaction
}

func newTopicLog(t Topic) *topicLog {
	if t.Partitions == 0 {
		t.Partitions = 4
	}
	l := &topicLog{Topic: t}
	for i := range t.Partitions {
		l.partitions = append(l.partitions, &partitionLog{part: pipeline.Partition{Topic: t.Name, Partition: i}})
	}
	return l
}

func (l *partitionLog) append(e entry) int64 {
	off := int64(len(l.entries))
	e.Origin = pipeline.Origin{Topic: l.part.Topic, Partition: l.part.Partition, Offset: off}
	l.entries = append(l.entries, e)
	return off
}

func (l *partitionLog) end() int64 { return int64(len(l.entries)) }

// lastStable is the offset up to which every transaction has ended.
func (l *partitionLog) lastStable() int64 {
	for l.stable < l.end() {
		if t := l.entries[l.stable].txn; t != nil && t.state == txnOpen {
			break
		}
		l.stable++
	}
	return l.stable
}

func (e *entry) visible() bool {
	return !e.control && (e.txn == nil || e.txn.state == txnCommitted)
}

// readCommitted calls yield for what a read_committed reader sees from an offset
// on, and returns where it would go on.
func (l *partitionLog) readCommitted(from int64, yield func(*entry) bool) int64 {
	for stable := l.lastStable(); from < stable; from++ {
		if e := &l.entries[from]; e.visible() && !yield(e) {
			return from
		}
	}
	return from
}

// passed reports whether a read_committed reader at an offset has nothing more to
// get, now or when what is open ends.
func (l *partitionLog) passed(at int64) bool {
	if l.lastStable() < l.end() {
		return false
	}
	left := false
	l.readCommitted(max(at, 0), func(*entry) bool { left = true; return false })
	return !left
}
