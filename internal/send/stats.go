package send

import (
	"sync/atomic"
	"time"
)

// stats counts what the machine does.
type stats struct {
	requests, requestNanos, requestNanosMax                    atomic.Int64
	batches, batchBytes, recordsSent                           atomic.Int64
	recordsAcked, recordsFailed                                atomic.Int64
	retries, splits, expired, duplicates, outOfSequence, bumps atomic.Int64
	disconnects, views, hints, calls, callRetries              atomic.Int64
	throttleNanos, inFlight                                    atomic.Int64
}

// Stats is a snapshot of a producer's counters, from its start.
type Stats struct {
	// Requests is the number of produce requests sent, InFlight how many are
	// under way; RequestTime is the sum of their round trips, RequestTimeMax the
	// longest.
	Requests, InFlight          int64
	RequestTime, RequestTimeMax time.Duration
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
}

func (s *stats) sent(r *request) {
	s.requests.Add(1)
	s.inFlight.Add(1)
	for _, b := range r.batches {
		s.batches.Add(1)
		s.batchBytes.Add(int64(b.size()))
		s.recordsSent.Add(int64(b.count()))
	}
}

func (s *stats) answered(r *request) {
	s.inFlight.Add(-1)
	s.requestNanos.Add(int64(r.took))
	if n := int64(r.took); n > s.requestNanosMax.Load() {
		s.requestNanosMax.Store(n)
	}
	s.throttleNanos.Add(int64(r.paused))
}

func (s *stats) snapshot(mem *memory) Stats {
	return Stats{
		Requests: s.requests.Load(), InFlight: s.inFlight.Load(),
		RequestTime: time.Duration(s.requestNanos.Load()), RequestTimeMax: time.Duration(s.requestNanosMax.Load()),
		Batches: s.batches.Load(), BatchBytes: s.batchBytes.Load(), RecordsSent: s.recordsSent.Load(),
		RecordsAcked: s.recordsAcked.Load(), RecordsFailed: s.recordsFailed.Load(),
		Retries: s.retries.Load(), Splits: s.splits.Load(), Expired: s.expired.Load(),
		Duplicates: s.duplicates.Load(), OutOfSequence: s.outOfSequence.Load(), Bumps: s.bumps.Load(),
		Disconnects: s.disconnects.Load(), Views: s.views.Load(), Hints: s.hints.Load(),
		Calls: s.calls.Load(), CallRetries: s.callRetries.Load(), ThrottleTime: time.Duration(s.throttleNanos.Load()),
		BufferTotal: mem.total, BufferAvailable: mem.available(),
	}
}
