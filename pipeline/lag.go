package pipeline

import "time"

// LagMeter is a [Source] that knows how far its partitions reach.
type LagMeter interface {
	// Reach is called from any goroutine, some times a second. It is false for a
	// partition that is not being read.
	Reach(p Partition) (Reach, bool)
}

// Reach is how far a partition goes, and how far its source is.
type Reach struct {
	// End is the offset after the last record, as the broker last said; in Kafka the
	// high watermark, which counts what an open transaction has written.
	End int64
	// Read is where the source reads on. Between the last record delivered and it are
	// only offsets without records for us, unless Held.
	Read int64
	// Held says that records before Read have not been delivered yet.
	Held bool
	// Heard is when the broker last answered about the partition.
	Heard time.Time
}

// PartitionStats is one input partition that is owned now.
type PartitionStats struct {
	Partition
	// Committed is the position up to which all is committed, as far as this worker
	// knows; -1 if it does not.
	Committed int64
	// Lag is how many offsets lie between it and the partition's end; -1 if the source
	// does not know.
	Lag int64
	// Heard is when the broker last answered about the partition, or zero. Held says that
	// records have been read and wait to be processed, so that it may not be asked.
	Heard time.Time
	Held  bool
	// Waiting is the stage that waits to try again, or "", Cause why if it failed.
	Waiting string
	Cause   error
	// Restoring is what its stages' state is being read from, or nil.
	Restoring *Restoring
	// Due is when the next record of a retry topic is due, or zero: the partition waits, and
	// nothing is wrong.
	Due time.Time
}

// measure says how the claim's partition stands. It may be called from any goroutine.
func (c *Claim) measure(source LagMeter) PartitionStats {
	s := PartitionStats{Partition: c.part, Committed: c.committed.Load(), Lag: -1, Restoring: c.restoring.Load()}
	if w := c.waits.Load(); w != nil {
		s.Waiting, s.Cause = w.stage, w.err
	}
	if due := c.due.Load(); due != 0 {
		s.Due = unixNano(due)
	}
	if source == nil {
		return s
	}
	delivered := c.delivered.Load() // before Reach: what is delivered meanwhile is not held any more
	r, ok := source.Reach(c.part)
	if !ok {
		return s
	}
	s.Heard, s.Held = r.Heard, r.Held
	switch {
	case r.Heard.IsZero():
	case !r.Held && s.Committed >= delivered:
		s.Lag = max(0, r.End-r.Read)
	case s.Committed >= 0:
		s.Lag = max(0, r.End-s.Committed)
	}
	return s
}

// wait is that of a claim whose stage waits to try again.
type wait struct {
	stage string
	err   error
}
