package otel_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// However large the context that a record comes with, the spans that wait take no more
// memory than their bound says.
func TestOpenSendsTakeNoMoreThanTheirBytes(t *testing.T) {
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true") // the SDK then keeps the context that a span began with
	const limit = 2 << 20
	list := func(n int, member string) string {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprintf("k%d=%s", i, member))
		}
		return strings.Join(members, ",")
	}
	topic := strings.Repeat("t", 249)
	for name, headers := range map[string][]string{
		"plain":            {"traceparent", sampled},
		"state":            {"traceparent", sampled, "tracestate", list(32, "v")},
		"long state":       {"traceparent", sampled, "tracestate", list(32, strings.Repeat("v", 256))},
		"baggage":          {"traceparent", sampled, "baggage", list(64, "v")},
		"long baggage":     {"traceparent", sampled, "baggage", list(60, strings.Repeat("v", 120))},
		"escaped baggage":  {"traceparent", sampled, "baggage", list(60, strings.Repeat("%20", 40))},
		"with properties":  {"traceparent", sampled, "baggage", list(64, "v;p=q;r;s=t")},
		"state, too large": {"traceparent", sampled, "tracestate", strings.Repeat("v", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTracing(t, otel.Config{MaxOpenSendBytes: limit})
			i := tr.Interceptor(copying(tr, "in", "out"))
			fill := func() {
				o := pipeline.NewOutgoing(t.Context(), nil, []byte("v"), nil)
				o.Topic, o.Headers = topic, raw(headers...).Headers // strings that nobody else has
				if err := i.OnSend(o); err != nil {
					t.Fatal(err)
				}
			}
			fill()
			before := heap()
			for range limit/2048 + 1000 {
				fill()
			}
			if got := int64(heap()) - int64(before); got > limit || got < limit/10 {
				t.Errorf("%d bytes, more than %d or next to nothing", got, limit)
			}
			runtime.KeepAlive(i)
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A span that the bound has no room for is not kept, and the next one is.
func TestASpanLargerThanTheBound(t *testing.T) {
	tr := newTracing(t, otel.Config{MaxOpenSendBytes: 4 << 10})
	i := tr.Interceptor(copying(tr, "in", "out"))
	for _, state := range []string{"a=" + strings.Repeat("v", 250) + ",b=c,d=e,f=g,h=i,j=k,l=m,n=o", "a=b"} {
		o := pipeline.NewOutgoing(t.Context(), nil, []byte("v"), nil)
		o.Topic, o.Headers = "out", raw("traceparent", sampled, "tracestate", state).Headers
		if err := i.OnSend(o); err != nil {
			t.Fatal(err)
		}
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out"}, o.Headers, nil)
	}
	if got := tr.one(t, "send out").SpanContext.TraceState().String(); got != "a=b" {
		t.Errorf("tracestate %s", got)
	}
}
