//go:build real

package kafka_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// A record that the broker refuses aborts transactions; what was sent in them is sent
// again, intercepted again, and has each header once.
func TestRealInterceptorsAndAnAbort(t *testing.T) {
	c, brokers, id := realCluster(t)
	small, dlq := id+"-small", id+"-dlq"
	c.CreateTopic(small, 4, map[string]string{"max.message.bytes": "4000"})
	c.CreateTopic(dlq, 1, nil)
	const n = 20_000
	c.Prefill(id+"-in", n)
	big := large("big", 8000)
	big.Topic = id + "-in"
	c.Produce(big)

	host, err := kafka.StampHost("mill")
	noError(t, err, "host")
	counter, latency, notes := &kafka.ErrorCounter{}, &kafka.LatencyHistogram{}, &outcomes{}
	var stats pipeline.Stats
	p := pipeline.New("p", pipeline.DeadLetter(dlq))
	pipeline.To(pipeline.From(p, id+"-in", serde.Bytes()), small, serde.Bytes())
	began := time.Now()
	noError(t, run(t, p, kafka.Config{
		Brokers: brokers, Group: id, UntilEnd: true, Logger: silent, Stats: &stats,
		Interceptors: []kafka.Interceptor{kafka.StampSendTime(), host, counter, latency, notes},
	}), "run")
	took := time.Since(began)

	records, letters := c.ReadAll(small), c.ReadAll(dlq)
	if len(records) != n || len(letters) != 1 {
		t.Fatalf("%d records and %d dead letters, want %d and 1", len(records), len(letters), n)
	}
	all := append(records, letters...)
	once(t, all, kafka.HeaderSendTimestamp, kafka.HeaderProducerHost)
	notes.written(t, all)
	for _, r := range all {
		for _, h := range r.Headers {
			if h.Key != kafka.HeaderSendTimestamp {
				continue
			}
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err != nil || ms < began.UnixMilli() || ms > time.Now().UnixMilli() {
				t.Fatalf("send timestamp %q", h.Value)
			}
		}
	}
	s, ends := stats.Snapshot(), notes.ends.list()
	var aborts int64
	for _, err := range ends {
		if errors.Is(err, kafka.ErrAborted) {
			aborts++
		}
	}
	if s.Aborts == 0 || aborts != s.Aborts || int64(len(ends)) != s.Aborts+s.Commits || s.InterceptorFailures != 0 {
		t.Errorf("ends of transactions %v; %d aborts, %d commits, %d failures", ends, s.Aborts, s.Commits, s.InterceptorFailures)
	}
	if latency.Count() < n || counter.Count(small) == 0 || latency.Quantile(1) > took+took/8 {
		t.Errorf("%d latencies, the longest %v of %v; %d errors", latency.Count(), latency.Quantile(1), took, counter.Count(small))
	}
	t.Logf("%d commits, %d aborts, %d acknowledged, %d not; latency p50 %v, p99 %v", s.Commits, s.Aborts, latency.Count(), counter.Count(small), latency.Quantile(0.5), latency.Quantile(0.99))
}
