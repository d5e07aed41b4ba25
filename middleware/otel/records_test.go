package otel_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// task is one of a pipeline whose only stage is fn, with the tracer's interceptor.
func task(t testing.TB, tr *tracing, fn func(context.Context, string) error, opts ...pipeline.Option) *pipeline.Task {
	t.Helper()
	p := pipeline.New("p", append([]pipeline.Option{tr.Middleware()}, opts...)...)
	pipeline.To(stages.CheckCtx(pipeline.From(p, "in", serde.String()), "check", fn), "out", serde.String())
	i := tr.Interceptor(p)
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) {
		if err := i.OnSend(o); err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func raw(headers ...string) *pipeline.Raw {
	r := &pipeline.Raw{Value: []byte("v"), Origin: pipeline.Origin{Topic: "in", Offset: 5}}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, pipeline.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func fine(context.Context, string) error { return nil }

// What is not sampled costs no allocation beyond the chain's own.
func TestNoAllocationUnlessSampled(t *testing.T) {
	bare := pipeline.New("p")
	pipeline.To(stages.CheckCtx(pipeline.From(bare, "in", serde.String()), "check", fine), "out", serde.String())
	plain, err := bare.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{Intercept: func(*pipeline.Outgoing) {}})
	if err != nil {
		t.Fatal(err)
	}
	allocs := func(task *pipeline.Task, r *pipeline.Raw) float64 {
		ctx := t.Context()
		return testing.AllocsPerRun(500, func() {
			if err := task.Process(ctx, r); err != nil {
				t.Fatal(err)
			}
			task.Clear()
		})
	}
	tr := newTracing(t, otel.Config{})
	traced := task(t, tr, fine)
	for name, r := range map[string]*pipeline.Raw{
		"none": raw("id", "7"), "not sampled": raw("id", "7", "traceparent", notSampled, "tracestate", "a=b"),
	} {
		if with, without := allocs(traced, r), allocs(plain, r); with > without {
			t.Errorf("%s: %v allocations, %v without the tracer", name, with, without)
		}
	}
	batches := task(t, newTracing(t, otel.Config{Records: otel.NoRecords}), fine)
	if r := raw("traceparent", sampled); allocs(batches, r) > allocs(plain, r) {
		t.Errorf("no records: %v allocations, %v without the tracer", allocs(batches, r), allocs(plain, r))
	}
	if r := raw("traceparent", sampled); allocs(traced, r) <= allocs(plain, r) || len(tr.exporter.GetSpans()) == 0 {
		t.Error("a sampled record is not traced, or this test does not see allocations")
	}
}

// Stages see the span and the baggage; the baggage also without a span.
func TestWhatStagesSee(t *testing.T) {
	for _, c := range []struct {
		name, parent string
		records      otel.Records
		spans        int
	}{
		{"sampled", sampled, otel.SampledRecords, 1},
		{"not sampled", notSampled, otel.SampledRecords, 0},
		{"no records", sampled, otel.NoRecords, 0},
		{"the sampler asks its parent", notSampled, otel.AllRecords, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTracing(t, otel.Config{Records: c.records, Relation: otel.Child})
			var seen context.Context
			k := task(t, tr, func(ctx context.Context, _ string) error { seen = ctx; return nil })
			if err := k.Process(t.Context(), raw("traceparent", c.parent, "baggage", "shop=b")); err != nil {
				t.Fatal(err)
			}
			if got := baggage.FromContext(seen).Member("shop").Value(); got != "b" {
				t.Errorf("baggage %q", got)
			}
			if got := trace.SpanContextFromContext(seen).TraceID().String(); got != traceID {
				t.Errorf("trace %s", got)
			}
			if got := tr.named("process in"); len(got) != c.spans {
				t.Errorf("%d spans, want %d", len(got), c.spans)
			}
			if v, _ := k.Outputs()[0].Headers.Get("baggage"); string(v) != "shop=b" {
				t.Errorf("baggage %q in the output", v)
			}
		})
	}
}

// AllRecords begins traces.
func TestAllRecords(t *testing.T) {
	tr := newTracing(t, otel.Config{Records: otel.AllRecords, Relation: otel.Child})
	k := task(t, tr, fine)
	if err := k.Process(t.Context(), raw()); err != nil {
		t.Fatal(err)
	}
	if process := tr.one(t, "process in"); process.Parent.IsValid() || len(process.Links) != 0 {
		t.Errorf("parent %v, links %v", process.Parent, process.Links)
	} else if v, ok := k.Outputs()[0].Headers.Get("traceparent"); !ok || !strings.Contains(string(v), process.SpanContext.TraceID().String()) {
		t.Errorf("traceparent %s", v)
	}
}

// A panic passes on, or is recorded as the error that Recover makes of it.
func TestPanics(t *testing.T) {
	for name, opts := range map[string][]pipeline.Option{"panic": nil, "*pipeline.StageError": {middleware.Recover()}} {
		tr := newTracing(t, otel.Config{})
		k := task(t, tr, func(context.Context, string) error { panic("oops") }, append(opts, pipeline.OnError(pipeline.Skip))...)
		if err := k.Process(t.Context(), raw("traceparent", sampled)); err != nil {
			t.Fatal(err)
		}
		span := tr.one(t, "process in")
		if span.Status.Code != codes.Error || attr(span, "error.type") == "" || name == "panic" && attr(span, "error.type") != "panic" {
			t.Errorf("%s: status %+v, error.type %q", name, span.Status, attr(span, "error.type"))
		}
	}
}

// b3 is the single-header form of B3, as far as this test needs it.
type b3 struct{}

func (b3) Fields() []string { return []string{"b3"} }

func (b3) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	sc := trace.SpanContextFromContext(ctx)
	c.Set("b3", sc.TraceID().String()+"-"+sc.SpanID().String()+"-"+map[bool]string{true: "1", false: "0"}[sc.IsSampled()])
}

func (b3) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	parts := strings.Split(c.Get("b3"), "-")
	if len(parts) != 3 {
		return ctx
	}
	id, _ := trace.TraceIDFromHex(parts[0])
	span, _ := trace.SpanIDFromHex(parts[1])
	cfg := trace.SpanContextConfig{TraceID: id, SpanID: span, Remote: true}
	if parts[2] == "1" {
		cfg.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(cfg))
}

// Another propagator's header is read and replaced, W3C's is then a header like any other.
func TestAnotherPropagator(t *testing.T) {
	tr := newTracing(t, otel.Config{Relation: otel.Child, Propagator: b3{}})
	k := task(t, tr, fine)
	if err := k.Process(t.Context(), raw("b3", traceID+"-00f067aa0ba902b7-0", "traceparent", notSampled, "b3", traceID+"-00f067aa0ba902b7-1")); err != nil {
		t.Fatal(err)
	}
	if got := tr.one(t, "process in").SpanContext.TraceID().String(); got != traceID {
		t.Errorf("trace %s", got)
	}
	h := k.Outputs()[0].Headers
	if v, _ := h.Get("traceparent"); len(h) != 2 || string(v) != notSampled {
		t.Errorf("headers %v", h)
	}
}
