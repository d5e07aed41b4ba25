package interop

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
)

// Many records in a transaction: it counts all of them and is linked to the sends of as
// many as a span has room for.
func TestBatches(t *testing.T) {
	t.Parallel()
	batches(embeddedWorld(t))
}

func batches(w *world) {
	w.t.Helper()
	const n = 500
	var values []string
	for i := range n {
		values = append(values, fmt.Sprint(i))
	}
	w.feed(values...)
	stats := w.run("pricing", "orders", "priced", otel.Child)
	all := w.received()
	if a, b, c := len(all.named("process orders")), len(all.named("lookup prices")), len(all.named("send priced")); a != n || b != n || c != n {
		w.t.Errorf("%d spans process, %d lookup, %d send, want %d", a, b, c, n)
	}
	w.transactions(all, "orders", stats)
	linked, records := map[string]bool{}, int64(0)
	for _, txn := range all.named("transaction") {
		count, _ := attributes(txn)["messaging.batch.message_count"].(int64)
		records += count
		if want := min(count, 128); int64(len(txn.Links)) != want || txn.DroppedLinksCount != 0 {
			w.t.Errorf("%d links for %d messages, %d dropped", len(txn.Links), count, txn.DroppedLinksCount)
		}
		for _, l := range txn.Links {
			if send, ok := all.by(l.SpanId); !ok || send.Name != "send priced" || linked[string(l.SpanId)] {
				w.t.Errorf("a link to %q, or a second one", send.Name)
			}
			linked[string(l.SpanId)] = true
		}
	}
	if records != n {
		w.t.Errorf("transactions of %d messages, want %d", records, n)
	}
}

// transactions checks that there is a commit below each transaction that was committed, and
// below no other, and that they are as many as the pipeline has counted.
func (w *world) transactions(all spans, input string, stats pipeline.Snapshot) {
	w.t.Helper()
	var committed, aborted int64
	for _, txn := range all.named("transaction") {
		commits := len(all.children(txn.SpanId))
		failed := txn.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR
		switch outcome := attributes(txn)["leat.transaction.outcome"]; {
		case outcome == "committed" && commits == 1 && !failed:
			committed++
		case outcome == "aborted" && commits == 0 && failed:
			aborted++
		default:
			w.t.Errorf("transaction %v with %d commits, status %v", outcome, commits, txn.Status)
		}
	}
	if n := int64(len(all.named("commit " + input))); n != committed || committed != stats.Commits || aborted != stats.Aborts {
		w.t.Errorf("%d committed, %d aborted, %d commits; the pipeline counts %d and %d", committed, aborted, n, stats.Commits, stats.Aborts)
	}
}

// A dead letter goes on with its caller's trace, beside the span that says what was wrong,
// and without what the order says.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	deadLetters(embeddedWorld(t))
}

func deadLetters(w *world) {
	w.t.Helper()
	w.feed("bad")
	stats := w.run("pricing", "orders", "priced", otel.Child, pipeline.DeadLetter(w.id+"dlq"))
	w.run("audit", "dlq", "shipped", otel.Child, pipeline.OnError(pipeline.Skip))
	all := w.received()
	expectTree(w.t, all, `
pricing: consumer process orders
pricing: producer send dlq
  audit: consumer process dlq
pricing: internal transaction -> send dlq
  pricing: client commit orders
`)
	w.transactions(all, "orders", pipeline.Snapshot{Commits: stats.Commits})
	process, send := all.named("process orders")[0], all.named("send dlq")[0]
	if traceOf(process) != traceID || traceOf(send) != traceID || string(process.ParentSpanId) != string(send.ParentSpanId) {
		w.t.Errorf("process in %s below %x, send in %s below %x", traceOf(process), process.ParentSpanId, traceOf(send), send.ParentSpanId)
	}
	has := attributes(process)
	if process.Status.GetMessage() != `stage "check": *errors.errorString` || has["leat.stage"] != "check" || has["leat.error.class"] != "the record's" {
		w.t.Errorf("status %v, attributes %v", process.Status, has)
	}
	if len(process.Events) != 1 || process.Events[0].Name != "exception" {
		w.t.Errorf("events %v", process.Events)
	}
}

// After an abort the input is replayed and has spans again. None of the aborted attempts
// claims a commit, and what readers see is what a committed attempt has sent.
func TestAbortAndReplay(t *testing.T) {
	t.Parallel()
	w := embeddedWorld(t)
	w.feed("tea", "milk")
	w.refuse(2)
	stats := w.run("pricing", "orders", "priced", otel.Child)
	all := w.received()
	if stats.Aborts == 0 {
		t.Fatal("nothing was aborted")
	}
	w.transactions(all, "orders", stats)
	w.replayed(all, "priced", 2)
}

// refuse has the embedded broker refuse n produce requests, so that their transactions
// cannot be committed.
func (w *world) refuse(n int32) {
	var refusals atomic.Int32
	fake := w.fake.Fake()
	fake.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if refusals.Add(1) > n {
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
}

// replayed checks that the n records that are visible in a topic carry the contexts of n
// sends without an error, that there were more attempts than these, and that each is
// below a span of processing.
func (w *world) replayed(all spans, topic string, n int) {
	w.t.Helper()
	records, sends := w.client.ReadAll(w.id+topic), all.named("send "+topic)
	if len(records) != n || len(all.named("process orders")) <= n {
		w.t.Errorf("%d records, want %d, after %d times processing", len(records), n, len(all.named("process orders")))
	}
	for _, r := range records {
		found := 0
		for _, s := range sends {
			if header(r, "traceparent") == traceparent(s) && s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
				found++
			}
		}
		if found != 1 {
			w.t.Errorf("%d sends for offset %d", found, r.Offset)
		}
	}
	for _, s := range sends {
		if parent, ok := all.by(s.ParentSpanId); !ok || parent.Name != "process orders" {
			w.t.Errorf("a send below %q", parent.Name)
		}
	}
}
