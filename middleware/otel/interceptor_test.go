package otel_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// sent has an interceptor see a sampled record, and returns the headers that it leaves.
func sent(t *testing.T, i kafka.Interceptor) pipeline.Headers {
	t.Helper()
	o := pipeline.NewOutgoing(t.Context(), nil, []byte("v"), nil)
	o.Topic, o.Headers = "out", raw("traceparent", sampled).Headers
	if err := i.OnSend(o); err != nil {
		t.Fatal(err)
	}
	return o.Headers
}

// The commit is claimed by nobody when it is not certain, or did not happen.
func TestHowTransactionsEnd(t *testing.T) {
	for _, c := range []struct {
		err     error
		outcome string
		commits int
	}{
		{nil, "committed", 1}, {kafka.ErrUnknownOutcome, "unknown", 0}, {kafka.ErrAborted, "aborted", 0}, {errOops, "aborted", 0},
	} {
		tr := newTracing(t, otel.Config{})
		p := copying(tr, "in", "out")
		i := tr.Interceptor(p)
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out", Offset: 3, Latency: time.Second}, sent(t, i), nil)
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out", Offset: 4}, nil, nil) // not traced
		i.(kafka.TransactionInterceptor).OnTransactionEnd(c.err)
		txn := tr.one(t, "transaction")
		if attr(txn, otel.OutcomeKey) != c.outcome || len(tr.named("commit in")) != c.commits || (txn.Status.Code == codes.Error) != (c.err != nil) {
			t.Errorf("%v: outcome %s, %d commits, status %+v", c.err, attr(txn, otel.OutcomeKey), len(tr.named("commit in")), txn.Status)
		}
		if attr(txn, "messaging.batch.message_count") != "2" || len(txn.Links) != 1 || txn.EndTime.Sub(txn.StartTime) < time.Second {
			t.Errorf("%s records, %d links, %v", attr(txn, "messaging.batch.message_count"), len(txn.Links), txn.EndTime.Sub(txn.StartTime))
		}
		// The next transaction has nothing of this one; with nothing sampled it has no span.
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, nil, nil)
		i.(kafka.TransactionInterceptor).OnTransactionEnd(nil)
		tr.one(t, "transaction")
	}
}

// With NoRecords transactions are linked to what came with the messages.
func TestNoRecords(t *testing.T) {
	tr := newTracing(t, otel.Config{Records: otel.NoRecords})
	i := tr.Interceptor(copying(tr, "in", "out"))
	i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, sent(t, i), nil)
	i.(kafka.TransactionInterceptor).OnTransactionEnd(nil)
	if txn := tr.one(t, "transaction"); len(tr.named("send out")) != 0 || len(txn.Links) != 1 || txn.Links[0].SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("links %v, spans %q", txn.Links, tr.names())
	}
	h := raw("traceparent", sampled).Headers
	for range 128 {
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, h, nil)
	}
	if n := testing.AllocsPerRun(100, func() { i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, h, nil) }); n != 0 {
		t.Errorf("%v allocations for an outcome beyond the links", n)
	}
}

// A send that fails says so; a transaction has at most 128 links.
func TestSends(t *testing.T) {
	tr := newTracing(t, otel.Config{})
	i := tr.Interceptor(copying(tr, "in", "out"))
	i.OnAcknowledgementHeaders(kafka.Result{Topic: "out", Partition: -1, Offset: -1}, sent(t, i), errOops)
	if span := tr.one(t, "send out"); span.Status.Code != codes.Error || attr(span, "messaging.kafka.offset") != "" || attr(span, "error.type") == "" {
		t.Errorf("status %+v, attributes %v", span.Status, span.Attributes)
	}
	for range 200 {
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, sent(t, i), nil)
	}
	i.(kafka.TransactionInterceptor).OnTransactionEnd(nil)
	if txn := tr.one(t, "transaction"); len(txn.Links) != 128 || attr(txn, "messaging.batch.message_count") != "201" {
		t.Errorf("%d links, %s records", len(txn.Links), attr(txn, "messaging.batch.message_count"))
	}
}

// Outputs that were dropped are never acknowledged: what waits for them is bounded.
func TestOpenSendsAreBounded(t *testing.T) {
	tr := newTracing(t, otel.Config{MaxOpenSendBytes: 6 << 10}) // two spans and no third
	i := tr.Interceptor(copying(tr, "in", "out"))
	var headers []pipeline.Headers
	for range 3 {
		headers = append(headers, sent(t, i))
	}
	for _, h := range headers {
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, h, nil)
	}
	spans := tr.named("send out")
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	for k, s := range spans { // the oldest is the one that was forgotten
		if v, _ := headers[k+1].Get("traceparent"); string(v) != parentHeader(s.SpanContext) {
			t.Errorf("span %d is %v, want %s", k, s.SpanContext.SpanID(), v)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := otel.New(otel.Config{Records: 9, Relation: 9, MaxOpenSendBytes: -1})
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatalf("error %v", err)
	}
	for _, s := range []string{"Records is 9", "Relation is 9", "MaxOpenSendBytes"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}
