//go:build real

package kafka_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Several in order, two of them failing: every record is written, with what the sound
// ones have changed, and outcomes and refusals of this broker are counted.
func TestRealInterceptors(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, map[string]string{"max.message.bytes": "4000"})
	add := func(name string) kafka.Interceptor {
		return kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
			o.Headers = o.Headers.Add(name, fmt.Append(nil, len(o.Headers)))
			return nil
		}}
	}
	fails := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error { o.Topic = "nowhere"; return errors.New("bad day") }}
	panics := kafka.InterceptorFuncs{Acknowledgment: func(kafka.Result, error) { panic("bad night") }}
	var failures kafka.ErrorCounter
	var latency kafka.LatencyHistogram
	p := c.producer(kafka.ProducerSettings{
		Brokers: brokers, Interceptors: []kafka.Interceptor{add("a"), fails, add("b"), panics, kafka.StampSendTime(), &failures, &latency},
	})
	const n = 500
	for range n {
		noError(t, p.Send(t.Context(), kafka.Record{Topic: topic, Key: []byte("k")}, nil), "send")
	}
	noError(t, p.Flush(t.Context()), "flush")
	_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Value: incompressible(8000)})
	wantError(t, err, pipeline.ErrTooLarge)

	records := c.ReadAll(topic)
	if len(records) != n {
		t.Fatalf("%d records, want %d", len(records), n)
	}
	for _, r := range records {
		if h := r.Headers; len(h) != 3 || h[0].Key != "a" || h[1].Key != "b" || string(h[1].Value) != "1" || h[2].Key != kafka.HeaderSendTimestamp {
			t.Fatalf("headers %v", h)
		}
	}
	if got := p.Metrics().InterceptorFailures; got != 2*(n+1) {
		t.Errorf("%d failures of interceptors, want %d", got, 2*(n+1))
	}
	if failures.Count(topic) != 1 || latency.Count() != n || latency.Quantile(0.99) <= 0 {
		t.Errorf("%d errors, %d latencies", failures.Count(topic), latency.Count())
	}
}

// Headers as another client reads them, nulls and doubles included, and what is refused
// before it is sent.
func TestRealHeaders(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, MaxHeaders: 6, MaxHeaderBytes: 200})
	sent := pipeline.Headers{
		kafka.SourceHeader("order-service"), kafka.ContentTypeHeader("application/json"), kafka.SchemaVersionHeader("3"),
		kafka.TraceIDHeader("4bf92f3577b34da6a3ce929d0e0e4736"), {Key: "null"}, {Key: "source", Value: []byte("again")},
	}
	_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Headers: sent})
	noError(t, err, "send")
	for _, bad := range []pipeline.Headers{sent.Add("seventh", nil), {{Key: "k", Value: make([]byte, 200)}}} {
		_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Headers: bad})
		wantError(t, err, kafka.ErrHeaders)
		if kafka.ClassOf(err) != kafka.RecordFault {
			t.Errorf("class %v", kafka.ClassOf(err))
		}
	}
	records := c.ReadAll(topic)
	if len(records) != 1 || len(records[0].Headers) != len(sent) {
		t.Fatalf("%d records, %v", len(records), records)
	}
	for i, h := range records[0].Headers {
		if h.Key != sent[i].Key || string(h.Value) != string(sent[i].Value) || (h.Value == nil) != (sent[i].Value == nil) {
			t.Errorf("header %d: %q %q", i, h.Key, h.Value)
		}
	}
}
