package kafka_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-stream/leat/sinks/kafka"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Linger: time.Minute}})
	before := p.Metrics()
	const n = 200
	for i := range n {
		noError(t, p.Send(t.Context(), record(fmt.Sprint(i), "value"), nil), "send")
	}
	if m := p.Metrics(); m.QueuedRecords != n || m.QueuedBytes < n*10 || m.QueuedBytes > n*40 || m.Pending != n || m.InFlightRecords != 0 {
		t.Errorf("lingering: %+v", m)
	}
	noError(t, p.Flush(t.Context()), "flush")
	m := p.Metrics()
	if m.RecordsSent != n || m.RecordsAcked != n || m.RecordsFailed != 0 || m.Requests != 1 || m.Batches != 1 || m.Pending != 0 ||
		m.QueuedRecords != 0 || m.QueuedBytes != 0 || m.InFlightRequests != 0 || m.BufferTotal != 32<<20 || m.BufferAvailable != m.BufferTotal {
		t.Errorf("%+v", m)
	}
	r := m.Since(before)
	if r.RecordsPerRequestAvg != n || r.BatchSizeAvg != float64(m.BatchBytes) || r.RequestLatencyAvg != m.RequestTime || r.RecordErrorRate != 0 {
		t.Errorf("%+v", r)
	}
	if took := m.At.Sub(before.At).Seconds(); r.RecordSendRate != n/took {
		t.Errorf("%v records a second, want %v", r.RecordSendRate, n/took)
	}
	if q := p.RequestLatency(1); q < m.RequestTimeMax.Truncate(time.Microsecond) || q > 2*m.RequestTimeMax+time.Microsecond {
		t.Errorf("latency %v, the longest is %v", q, m.RequestTimeMax)
	}
	if r := m.Since(kafka.Metrics{}); r.RecordSendRate != 0 || r.RecordsPerRequestAvg != n {
		t.Errorf("from the start: %+v", r)
	}
	if (m.Since(m) != kafka.Rates{}) {
		t.Errorf("from nothing: %+v", m.Since(m))
	}
}
