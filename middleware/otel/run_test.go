package otel_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func copying(tr *tracing, from, to string, opts ...pipeline.Option) *pipeline.Pipeline {
	p := pipeline.New(from+"-"+to, append([]pipeline.Option{tr.Middleware()}, opts...)...)
	good := stages.Check(pipeline.From(p, from, serde.String()), "check", func(v string) error {
		if v == "bad" {
			return errOops
		}
		return nil
	})
	pipeline.To(good, to, serde.String())
	return p
}

// The trace of one record through two pipelines: every span, in its place.
func TestOneTraceThroughTwoPipelines(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "mid", "out")
	tr := newTracing(t, otel.Config{Relation: otel.Child, Group: "g"})
	c.Produce(record("in", "v", "traceparent", otherParent, "baggage", "old=1", "id", "7", "traceparent", sampled, "tracestate", "mill=a", "baggage", "shop=b"))
	c.run(t, copying(tr, "in", "mid"), tr, &pipeline.Stats{})
	c.run(t, copying(tr, "mid", "out"), tr, &pipeline.Stats{})

	if got := strings.Join(tr.names(), ", "); got != "commit in, commit mid, process in, process mid, send mid, send out, transaction, transaction" {
		t.Fatalf("spans: %s", got)
	}
	processIn, sendMid, processMid, sendOut := tr.one(t, "process in"), tr.one(t, "send mid"), tr.one(t, "process mid"), tr.one(t, "send out")
	if got := processIn.SpanContext.TraceID().String(); got != traceID || processIn.Parent.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("trace %s, parent %v", got, processIn.Parent.SpanID())
	}
	expectChild(t, sendMid, processIn.SpanContext)
	expectChild(t, processMid, sendMid.SpanContext)
	expectChild(t, sendOut, processMid.SpanContext)

	process := func(topic string) map[string]any {
		return map[string]any{
			"messaging.system": "kafka", "messaging.operation.type": "process", "messaging.operation.name": "process", "messaging.destination.name": topic,
			"messaging.destination.partition.id": "0", "messaging.kafka.offset": int64(0), "messaging.consumer.group.name": "g",
		}
	}
	send := func(topic string) map[string]any {
		return map[string]any{
			"messaging.system": "kafka", "messaging.operation.type": "send", "messaging.operation.name": "send", "messaging.destination.name": topic,
			"messaging.destination.partition.id": "0", "messaging.kafka.offset": int64(0),
		}
	}
	expectSpan(t, processIn, trace.SpanKindConsumer, process("in"))
	expectSpan(t, processMid, trace.SpanKindConsumer, process("mid"))
	expectSpan(t, sendMid, trace.SpanKindProducer, send("mid"))
	expectSpan(t, sendOut, trace.SpanKindProducer, send("out"))

	for i, sent := range []trace.SpanContext{sendMid.SpanContext, sendOut.SpanContext} {
		txn, input := tr.named("transaction")[i], []string{"in", "mid"}[i]
		if txn.Parent.IsValid() || len(txn.Links) != 1 || txn.Links[0].SpanContext.SpanID() != sent.SpanID() || txn.Links[0].SpanContext.TraceID() != sent.TraceID() {
			t.Errorf("transaction %d has the parent %v, links %v", i, txn.Parent.SpanID(), txn.Links)
		}
		expectSpan(t, txn, trace.SpanKindInternal, map[string]any{
			"messaging.system": "kafka", "messaging.batch.message_count": int64(1), "leat.transaction.outcome": "committed",
		})
		commit := tr.one(t, "commit "+input)
		expectChild(t, commit, txn.SpanContext)
		expectSpan(t, commit, trace.SpanKindClient, map[string]any{
			"messaging.system": "kafka", "messaging.operation.type": "settle", "messaging.operation.name": "commit",
			"messaging.destination.name": input, "messaging.consumer.group.name": "g",
		})
		if txn.StartTime.After(commit.StartTime) || commit.EndTime.Before(commit.StartTime) || txn.EndTime.Before(commit.EndTime) {
			t.Errorf("transaction from %v to %v, commit from %v to %v", txn.StartTime, txn.EndTime, commit.StartTime, commit.EndTime)
		}
	}

	out := c.ReadAll("out")[0]
	if got := header(t, out, "traceparent"); got != parentHeader(sendOut.SpanContext) {
		t.Errorf("traceparent %s, want %s", got, parentHeader(sendOut.SpanContext))
	}
	if header(t, out, "tracestate") != "mill=a" || header(t, out, "baggage") != "shop=b" || header(t, out, "id") != "7" {
		t.Errorf("headers %v", out.Headers)
	}
}

// Linked, the default: each record's processing is a trace of its own.
func TestLinked(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "out")
	tr := newTracing(t, otel.Config{})
	c.Produce(record("in", "v", "traceparent", sampled), record("in", "no context"), record("in", "not sampled", "traceparent", notSampled))
	c.run(t, copying(tr, "in", "out"), tr, &pipeline.Stats{})
	process, send := tr.one(t, "process in"), tr.one(t, "send out")
	if process.Parent.IsValid() || process.SpanContext.TraceID().String() == traceID || len(process.Links) != 1 ||
		process.Links[0].SpanContext.TraceID().String() != traceID || process.Links[0].SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("trace %v, parent %v, links %v", process.SpanContext.TraceID(), process.Parent.SpanID(), process.Links)
	}
	expectChild(t, send, process.SpanContext)
	records := c.ReadAll("out")
	if got := header(t, records[2], "traceparent"); got != notSampled {
		t.Errorf("the context of a record that is not sampled became %s", got)
	}
	if n := len(records[1].Headers); n != 0 {
		t.Errorf("%d headers of a record without a context", n)
	}
}

// A dead letter is the record as it came, and its send a child of what it came with.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "out", "dlq")
	tr := newTracing(t, otel.Config{Relation: otel.Child})
	c.Produce(record("in", "bad", "traceparent", sampled))
	c.run(t, copying(tr, "in", "out", pipeline.DeadLetter("dlq")), tr, &pipeline.Stats{})
	process, send := tr.one(t, "process in"), tr.one(t, "send dlq")
	if process.Status.Code != codes.Error || len(process.Events) != 1 || attr(process, "error.type") == "" {
		t.Errorf("status %+v, events %v", process.Status, process.Events)
	}
	expectChild(t, send, process.Parent)
	if got := header(t, c.ReadAll("dlq")[0], "traceparent"); got != parentHeader(send.SpanContext) {
		t.Errorf("traceparent %s", got)
	}
	tr.one(t, "commit in")
}

// After an abort the input is replayed. There is a commit for each transaction that was
// committed, below it, and none for those that were aborted.
func TestNoCommitAfterAnAbort(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "out")
	tr := newTracing(t, otel.Config{Relation: otel.Child})
	c.Produce(record("in", "v1", "traceparent", sampled), record("in", "v2", "traceparent", sampled))
	var refusals atomic.Int32
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		if refusals.Add(1) > 2 {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, kerr.InvalidTxnState.Code, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	var stats pipeline.Stats
	c.run(t, copying(tr, "in", "out"), tr, &stats)

	var committed, aborted int
	for _, s := range tr.named("transaction") {
		commits := 0
		for _, commit := range tr.named("commit in") {
			if commit.Parent.SpanID() == s.SpanContext.SpanID() {
				commits++
			}
		}
		switch outcome := attr(s, otel.OutcomeKey); {
		case outcome == "committed" && commits == 1 && s.Status.Code != codes.Error:
			committed++
		case outcome == "aborted" && commits == 0 && s.Status.Code == codes.Error:
			aborted++
		default:
			t.Errorf("transaction %s with %d commits, status %v", outcome, commits, s.Status)
		}
	}
	snap := stats.Snapshot()
	if committed != int(snap.Commits) || aborted == 0 || aborted != int(snap.Aborts) || len(tr.named("commit in")) != committed {
		t.Errorf("%d committed, %d aborted, %d commits; the pipeline counts %d and %d", committed, aborted, len(tr.named("commit in")), snap.Commits, snap.Aborts)
	}
	if n := len(c.ReadAll("out")); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	// Each output that was read has the send span whose context it carries.
	for _, r := range c.ReadAll("out") {
		found := 0
		for _, s := range tr.named("send out") {
			if header(t, r, "traceparent") == parentHeader(s.SpanContext) && s.Status.Code != codes.Error {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d send spans for %s", found, r.Value)
		}
	}
	failed := 0
	for _, s := range tr.named("send out") {
		if s.Status.Code == codes.Error {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no send span has the refusal")
	}
}
