//go:build real

package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The counters against what this broker has, and the rates from them.
func TestRealMetrics(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, map[string]string{"max.message.bytes": "100000"})
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: kafka.ProducerConfig{Linger: time.Minute, BatchSize: 10_000, Compression: kafka.NoCompression}})
	before := p.Metrics()
	const n = 1000
	for range n {
		noError(t, p.Send(t.Context(), kafka.Record{Topic: topic, Value: incompressible(200)}, nil), "send")
	}
	noError(t, p.Flush(t.Context()), "flush")
	noError(t, p.Send(t.Context(), kafka.Record{Topic: topic, Value: incompressible(200_000)}, nil), "send")
	wantError(t, p.Flush(t.Context()), pipeline.ErrTooLarge)
	m := p.Metrics()
	r := m.Since(before)
	if m.RecordsAcked != n || m.RecordsFailed != 1 || m.RecordsSent != n+1+m.Retries || c.Ends(topic, false)[0] != n {
		t.Errorf("%+v, the broker has %d", m, c.Ends(topic, false)[0])
	}
	took := m.At.Sub(before.At).Seconds()
	if r.RecordSendRate != float64(m.RecordsSent)/took || r.RecordErrorRate != 1/took || r.RecordsPerRequestAvg < 20 || r.BatchSizeAvg < 9000 {
		t.Errorf("%+v", r)
	}
	if r.RequestLatencyAvg <= 0 || m.RequestTimeMax < r.RequestLatencyAvg || p.RequestLatency(1) < m.RequestTimeMax.Truncate(time.Microsecond) || p.RequestLatency(0.5) > p.RequestLatency(0.99) {
		t.Errorf("latency: %v on average, at most %v, quantile %v", r.RequestLatencyAvg, m.RequestTimeMax, p.RequestLatency(1))
	}
	if m.BufferAvailable != m.BufferTotal || m.InFlightRequests != 0 || m.Pending != 0 || m.ThrottleTime != 0 {
		t.Errorf("after the flush: %+v", m)
	}
}
