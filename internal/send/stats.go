package send

import (
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/histogram"
)

// stats counts what the machine does.
type stats struct {
	requests, overlaps, requestNanos, requestNanosMax          atomic.Int64
	batches, batchBytes, recordsSent                           atomic.Int64
	recordsAcked, recordsFailed                                atomic.Int64
	retries, splits, expired, duplicates, outOfSequence, bumps atomic.Int64
	disconnects, views, hints, calls, callRetries              atomic.Int64
	throttleNanos, inFlight, linger                            atomic.Int64
	sealedRecords, sealedBytes, flyingRecords, flyingBytes     atomic.Int64
	requestLatency                                             histogram.Histogram
}

// Stats is a snapshot of a producer's counters, from its start.
type Stats struct {
	// Requests is the number of produce requests sent, InFlight how many are
	// under way; RequestTime is the sum of their round trips, RequestTimeMax the
	// longest.
	Requests, InFlight int64
	// QueuedRecords and QueuedBytes (uncompressed) have no outcome and are not
	// under way, InFlightRecords and InFlightBytes are.
	QueuedRecords, QueuedBytes, InFlightRecords, InFlightBytes int64
	RequestTime, RequestTimeMax                                time.Duration
	// Batches, BatchBytes (uncompressed) and RecordsSent count what was in them,
	// retries included.
	Batches, BatchBytes, RecordsSent int64
	// RecordsAcked and RecordsFailed are the records with an outcome.
	RecordsAcked, RecordsFailed int64
	// Retries counts batches sent again, Splits batches cut in two because they
	// were too large, Expired those given up at the delivery time-out.
	Retries, Splits, Expired int64
	// Duplicates counts batches that the broker had already, OutOfSequence the
	// answers that something before was missing, Bumps new epochs.
	Duplicates, OutOfSequence, Bumps int64
	// Disconnects counts connections lost, Views looks at the cluster, Hints
	// leaders learned from a broker's answer.
	Disconnects, Views, Hints int64
	// Calls counts coordinator requests, CallRetries those sent again.
	Calls, CallRetries int64
	// ThrottleTime is the sum of the brokers' throttle times.
	ThrottleTime time.Duration
	// BufferTotal is BufferMemory, BufferAvailable what is free of it.
	BufferTotal, BufferAvailable int64
	// Linger is how long batches wait now.
	Linger time.Duration
}

func (s *stats) sent(r *request) {
	s.requests.Add(1)
	s.inFlight.Add(1)
	for _, b := range r.batches {
		s.batches.Add(1)
		s.batchBytes.Add(int64(b.size()))
		s.recordsSent.Add(int64(b.count()))
		s.flyingRecords.Add(int64(b.count()))
		s.flyingBytes.Add(int64(b.size()))
	}
}

// seal and leave count what is sealed and has no outcome.
func (s *stats) seal(b *batch) {
	s.sealedRecords.Add(int64(b.count()))
	s.sealedBytes.Add(int64(b.size()))
}

func (s *stats) leave(b *batch) {
	s.sealedRecords.Add(-int64(b.count()))
	s.sealedBytes.Add(-int64(b.size()))
}

func (s *stats) answered(r *request) {
	s.inFlight.Add(-1)
	for _, b := range r.batches {
		s.flyingRecords.Add(-int64(b.count()))
		s.flyingBytes.Add(-int64(b.size()))
	}
	s.requestNanos.Add(int64(r.took))
	s.requestLatency.Add(r.took)
	if n := int64(r.took); n > s.requestNanosMax.Load() {
		s.requestNanosMax.Store(n)
	}
	s.throttleNanos.Add(int64(r.paused))
}

// snapshot is not taken at one instant: what moves meanwhile may be seen twice, or
// not at all.
func (s *stats) snapshot(a *accumulator) Stats {
	open, openBytes := a.open()
	flying, flyingBytes := s.flyingRecords.Load(), s.flyingBytes.Load()
	return Stats{
		Requests: s.requests.Load(), InFlight: s.inFlight.Load(),
		QueuedRecords: max(0, open+s.sealedRecords.Load()-flying), QueuedBytes: max(0, openBytes+s.sealedBytes.Load()-flyingBytes),
		InFlightRecords: flying, InFlightBytes: flyingBytes,
		RequestTime: time.Duration(s.requestNanos.Load()), RequestTimeMax: time.Duration(s.requestNanosMax.Load()),
		Batches: s.batches.Load(), BatchBytes: s.batchBytes.Load(), RecordsSent: s.recordsSent.Load(),
		RecordsAcked: s.recordsAcked.Load(), RecordsFailed: s.recordsFailed.Load(),
		Retries: s.retries.Load(), Splits: s.splits.Load(), Expired: s.expired.Load(),
		Duplicates: s.duplicates.Load(), OutOfSequence: s.outOfSequence.Load(), Bumps: s.bumps.Load(),
		Disconnects: s.disconnects.Load(), Views: s.views.Load(), Hints: s.hints.Load(),
		Calls: s.calls.Load(), CallRetries: s.callRetries.Load(), ThrottleTime: time.Duration(s.throttleNanos.Load()),
		BufferTotal: a.mem.total, BufferAvailable: a.mem.available(), Linger: time.Duration(s.linger.Load()),
	}
}
