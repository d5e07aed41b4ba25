package kafka

import (
	"time"

	"github.com/leat-stream/leat/internal/send"
)

// Metrics is a snapshot of a producer's counters, from its start. Totals only grow;
// the rest is as of now. In parentheses are the names of Kafka's metrics.
type Metrics struct {
	// At is when it was taken.
	At time.Time
	// RecordsSent are the records put into requests, retries included
	// (record-send-total); RecordsAcked those that were written, RecordsFailed those
	// that were not (record-error-total).
	RecordsSent, RecordsAcked, RecordsFailed int64
	// Requests (request-total) carried Batches, of BatchBytes before compression.
	Requests, Batches, BatchBytes int64
	// Retries counts batches sent again, Splits batches cut in two because the broker
	// takes no larger ones (batch-split-total), Expired those given up at
	// DeliveryTimeout.
	Retries, Splits, Expired int64
	// RequestTime is the sum of the round trips, RequestTimeMax the longest
	// (request-latency-max).
	RequestTime, RequestTimeMax time.Duration
	// ThrottleTime is the sum of the pauses that brokers asked for.
	ThrottleTime time.Duration
	// Disconnects counts connections that were lost.
	Disconnects int64
	// InterceptorFailures counts errors and panics of interceptors.
	InterceptorFailures int64

	// Pending are the records that MaxPending bounds: those without an outcome, and
	// those whose callback has not been called.
	Pending int64
	// QueuedRecords and QueuedBytes (before compression) wait to be sent or sent
	// again, InFlightRecords and InFlightBytes are under way in InFlightRequests
	// (requests-in-flight).
	QueuedRecords, QueuedBytes                       int64
	InFlightRequests, InFlightRecords, InFlightBytes int64
	// BufferAvailable (buffer-available-bytes) of BufferTotal (buffer-total-bytes) are
	// free. Batches that are not full count as if they were.
	BufferAvailable, BufferTotal int64
	// Linger is how long batches wait now; it changes only with LingerMax.
	Linger time.Duration
}

// Metrics returns the counters as of now. It takes no lock that a send holds for long,
// and costs some microseconds and more with thousands of partitions.
func (p *Producer) Metrics() Metrics {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.metrics()
}

func (p *Producer) metrics() Metrics {
	m := metricsOf(p.past, p.inner.Load().Stats())
	m.Pending = p.pending.n.Load()
	m.InterceptorFailures = p.interceptors.failures()
	return m
}

// metricsOf adds what a machine has counted to the totals of those before it.
func metricsOf(past Metrics, s send.Stats) Metrics {
	return Metrics{
		At:          time.Now(),
		RecordsSent: past.RecordsSent + s.RecordsSent, RecordsAcked: past.RecordsAcked + s.RecordsAcked, RecordsFailed: past.RecordsFailed + s.RecordsFailed,
		Requests: past.Requests + s.Requests, Batches: past.Batches + s.Batches, BatchBytes: past.BatchBytes + s.BatchBytes,
		Retries: past.Retries + s.Retries, Splits: past.Splits + s.Splits, Expired: past.Expired + s.Expired,
		RequestTime: past.RequestTime + s.RequestTime, RequestTimeMax: max(past.RequestTimeMax, s.RequestTimeMax),
		ThrottleTime: past.ThrottleTime + s.ThrottleTime, Disconnects: past.Disconnects + s.Disconnects,
		QueuedRecords: s.QueuedRecords, QueuedBytes: s.QueuedBytes,
		InFlightRequests: s.InFlight, InFlightRecords: s.InFlightRecords, InFlightBytes: s.InFlightBytes,
		BufferAvailable: s.BufferAvailable, BufferTotal: s.BufferTotal, Linger: s.Linger,
	}
}

// RequestLatency returns a quantile of the requests' round trips, to 1/16 of its size:
// 0.99 for the time that 99 % of them took at most. A transactional producer that had
// to begin anew counts from then.
func (p *Producer) RequestLatency(quantile float64) time.Duration {
	return p.inner.Load().RequestLatency(quantile)
}

// Rates are what happened between two snapshots. Zero where nothing did.
type Rates struct {
	// RecordSendRate and RecordErrorRate are records a second (record-send-rate,
	// record-error-rate).
	RecordSendRate, RecordErrorRate float64
	// BatchSizeAvg is bytes before compression (Kafka's batch-size-avg is after it);
	// far below BatchSize, a longer Linger makes larger batches.
	BatchSizeAvg float64
	// RecordsPerRequestAvg (records-per-request-avg) of 1 says that nothing is
	// batched.
	RecordsPerRequestAvg float64
	// RequestLatencyAvg (request-latency-avg) and ThrottleTimeAvg
	// (produce-throttle-time-avg) are a request's.
	RequestLatencyAvg, ThrottleTimeAvg time.Duration
}

// Since returns the rates from an earlier snapshot to this one; the zero Metrics stand
// for no time at all, and give averages only.
func (m Metrics) Since(earlier Metrics) Rates {
	var r Rates
	sent := float64(m.RecordsSent - earlier.RecordsSent)
	if s := m.At.Sub(earlier.At).Seconds(); s > 0 && !earlier.At.IsZero() {
		r.RecordSendRate = sent / s
		r.RecordErrorRate = float64(m.RecordsFailed-earlier.RecordsFailed) / s
	}
	if n := m.Batches - earlier.Batches; n > 0 {
		r.BatchSizeAvg = float64(m.BatchBytes-earlier.BatchBytes) / float64(n)
	}
	if n := m.Requests - earlier.Requests; n > 0 {
		r.RecordsPerRequestAvg = sent / float64(n)
		r.RequestLatencyAvg = (m.RequestTime - earlier.RequestTime) / time.Duration(n)
		r.ThrottleTimeAvg = (m.ThrottleTime - earlier.ThrottleTime) / time.Duration(n)
	}
	return r
}
