package interop

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/contrib/propagators/b3"
	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

const spanID = "00f067aa0ba902b7"

// forms are those of the propagators that users have besides W3C's: the headers of a
// context that is sampled, one that is not, and what of them carries the ids.
var forms = map[string]struct {
	propagator        propagation.TextMapPropagator
	sampled, not      map[string]string
	traceIn, sampleIn string
}{
	"B3 single": {
		b3.New(b3.WithInjectEncoding(b3.B3SingleHeader)),
		map[string]string{"b3": traceID + "-" + spanID + "-1"}, map[string]string{"b3": traceID + "-" + spanID + "-0"},
		"b3", "b3",
	},
	"B3 multiple": {
		b3.New(b3.WithInjectEncoding(b3.B3MultipleHeader)),
		map[string]string{"x-b3-traceid": traceID, "x-b3-spanid": spanID, "x-b3-sampled": "1"},
		map[string]string{"x-b3-traceid": traceID, "x-b3-spanid": spanID, "x-b3-sampled": "0"},
		"x-b3-traceid", "x-b3-sampled",
	},
	"Jaeger": {
		jaeger.Jaeger{},
		map[string]string{"uber-trace-id": traceID + ":" + spanID + ":0:1"}, map[string]string{"uber-trace-id": traceID + ":" + spanID + ":0:0"},
		"uber-trace-id", "uber-trace-id",
	},
}

// A message of another form goes through a pipeline: its trace goes on, and each header is
// there once, with the context of the send.
func TestPropagators(t *testing.T) {
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := embeddedWorld(t)
			stale := map[string]string{}
			for k := range f.sampled {
				stale[k] = "stale"
			}
			record := func(value string, headers ...map[string]string) *kgo.Record {
				r := &kgo.Record{Topic: "orders", Value: []byte(value)}
				for _, h := range headers {
					for _, k := range slices.Sorted(maps.Keys(h)) {
						r.Headers = append(r.Headers, kgo.RecordHeader{Key: k, Value: []byte(h[k])})
					}
				}
				return r
			}
			other := map[string]string{"traceparent": caller} // a header like any other here
			w.client.Produce(record("sampled", stale, other, f.sampled), record("not", f.not))
			w.through(f.propagator)

			all := w.rec.received()
			expectTree(t, all, `
s: consumer process orders
  s: producer send priced
s: internal transaction -> send priced
  s: client commit orders
`)
			if got := all.named("process orders")[0]; traceOf(got) != traceID || string(got.ParentSpanId) != "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7" {
				t.Errorf("trace %s below %x", traceOf(got), got.ParentSpanId)
			}
			out := w.client.ReadAll("priced")
			if len(out) != 2 || header(out[0], "traceparent") != caller {
				t.Fatalf("written: %v", out)
			}
			carrier := propagation.MapCarrier{}
			for k := range f.sampled {
				carrier[k] = header(out[0], k)
			}
			sc := trace.SpanContextFromContext(f.propagator.Extract(t.Context(), carrier))
			if got := traceparent(all.named("send priced")[0]); got != "00-"+sc.TraceID().String()+"-"+sc.SpanID().String()+"-"+sc.TraceFlags().String() {
				t.Errorf("the headers have %v, the send is %s", sc, got)
			}
			for k, v := range f.not { // the decision travels on
				if got := header(out[1], k); got != v {
					t.Errorf("%s is %s, was %s", k, got, v)
				}
			}
		})
	}
}

// B3's debug flag goes on, though it is no part of the span's context.
func TestDebugOfB3(t *testing.T) {
	t.Parallel()
	w := embeddedWorld(t)
	by := b3.New(b3.WithInjectEncoding(b3.B3MultipleHeader))
	tracer, err := otel.New(otel.Config{TracerProvider: w.rec.service("s"), Propagator: by})
	w.noError(err)
	p := w.producer(tracer)
	ctx := by.Extract(t.Context(), propagation.MapCarrier{"x-b3-traceid": traceID, "x-b3-spanid": spanID, "x-b3-flags": "1"})
	_, err = p.SendSync(ctx, kafka.Record{Topic: "orders", Value: []byte("tea")})
	w.noError(err)
	w.through(by)
	for _, topic := range []string{"orders", "priced"} {
		if out := w.client.ReadAll(topic); len(out) != 1 || header(out[0], "x-b3-flags") != "1" {
			t.Errorf("%s: %v", topic, out)
		}
	}
}

// through copies orders to priced with the tracing of another propagator.
func (w *world) through(by propagation.TextMapPropagator) {
	w.t.Helper()
	tracer, err := otel.New(otel.Config{TracerProvider: w.rec.service("s"), Propagator: by, Relation: otel.Child})
	w.noError(err)
	p := pipeline.New("s", tracer.Middleware())
	pipeline.To(pipeline.From(p, "orders", serde.String()), "priced", serde.String())
	w.runPipeline(p, tracer)
}

// A producer sends the contexts of its callers in these forms, too, those that are not
// sampled included, and each send has its end.
func TestPropagatorsOfProducers(t *testing.T) {
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := embeddedWorld(t)
			tracer, err := otel.New(otel.Config{TracerProvider: w.rec.service("s"), Propagator: f.propagator})
			w.noError(err)
			p := w.producer(tracer)
			for _, h := range []map[string]string{f.sampled, f.not} {
				_, err := p.SendSync(f.propagator.Extract(t.Context(), propagation.MapCarrier(h)), kafka.Record{Topic: "orders"})
				w.noError(err)
			}
			w.noError(p.Close(t.Context()))
			all := w.rec.received()
			if len(all) != 1 || all[0].Name != "send orders" || traceOf(all[0]) != traceID || all[0].EndTimeUnixNano == 0 {
				t.Fatalf("the spans are\n%s", all.tree())
			}
			out := w.client.ReadAll("orders")
			if len(out) != 2 || !strings.Contains(header(out[0], f.traceIn), traceID) || header(out[1], f.sampleIn) != f.not[f.sampleIn] {
				t.Errorf("written: %v", out)
			}
		})
	}
}
