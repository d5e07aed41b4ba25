package otel_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// people has one entry; the key "down" fails, "panics" panics.
func people(seen *context.Context) stages.Table[string, string] {
	return stages.TableFunc[string, string](func(ctx context.Context, key string) (string, bool, error) {
		if seen != nil {
			*seen = ctx
		}
		switch key {
		case "down":
			return "", false, pipeline.Fatal(&invoiceError{"secret"})
		case "panics":
			panic("secret")
		}
		return "Anna", key == "a", nil
	})
}

type (
	stream = pipeline.Stream[string]
	table  = stages.Table[string, string]
)

func same(v string) string        { return v }
func greet(v, name string) string { return v + ":" + name }

// variants are all stages that look up.
var variants = map[string]func(stream, table) stream{
	"Enrich": func(s stream, t table) stream { return stages.Enrich(s, "name", same, t, greet) },
	"EnrichOptional": func(s stream, t table) stream {
		return stages.EnrichOptional(s, "name", same, t, func(v, name string, _ bool) string { return greet(v, name) })
	},
	"EnrichCtx": func(s stream, t table) stream {
		return stages.EnrichCtx(s, "name", func(_ context.Context, v string) (string, error) { return v, nil }, t,
			func(_ context.Context, v, name string) (string, error) { return greet(v, name), nil })
	},
	"EnrichRecord": func(s stream, t table) stream {
		return stages.EnrichRecord(s, "name", func(_ context.Context, r *pipeline.Record[string]) (string, error) { return r.Value, nil }, t,
			func(_ context.Context, r *pipeline.Record[string], name string) (pipeline.Record[string], error) {
				return pipeline.With(r, greet(r.Value, name)), nil
			})
	},
}

// enriching compiles a pipeline that looks its values up.
func enriching(t testing.TB, tr *tracing, build func(stream, table) stream, by table, opts ...pipeline.Option) *pipeline.Task {
	t.Helper()
	p := pipeline.New("p", append([]pipeline.Option{tr.Middleware(), pipeline.OnError(pipeline.Skip)}, opts...)...)
	pipeline.To(build(pipeline.From(p, "in", serde.String()), by), "out", serde.String())
	k, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func process(t testing.TB, k *pipeline.Task, value string, headers ...string) {
	t.Helper()
	r := raw(headers...)
	r.Value = []byte(value)
	if err := k.Process(t.Context(), r); err != nil && !pipeline.IsFatal(err) {
		t.Fatal(err)
	}
	k.Clear()
}

// A look-up is a child of its record's span, with its error and without the key.
func TestLookups(t *testing.T) {
	for name, build := range variants {
		t.Run(name, func(t *testing.T) {
			var seen context.Context
			tr := newTracing(t, otel.Config{})
			k := enriching(t, tr, build, otel.TraceTable(tr.Tracer, "people", people(&seen)))
			for _, key := range []string{"a", "nobody", "down", "panics"} {
				tr.exporter.Reset()
				process(t, k, key, "traceparent", sampled)
				lookup := tr.one(t, "lookup people")
				expectChild(t, lookup, tr.one(t, "process in").SpanContext)
				if got := trace.SpanContextFromContext(seen); !got.Equal(lookup.SpanContext) {
					t.Errorf("%s: the table sees %v, want %v", key, got.SpanID(), lookup.SpanContext.SpanID())
				}
				want := map[string]any{"leat.lookup.found": key == "a"}
				status := codes.Unset
				switch key {
				case "down":
					want, status = map[string]any{"error.type": "*otel_test.invoiceError", "leat.error.class": "fatal"}, codes.Error
				case "panics":
					want, status = map[string]any{"error.type": "panic"}, codes.Error
				}
				expectSpan(t, lookup, trace.SpanKindInternal, want)
				if lookup.Status.Code != status || strings.Contains(said(lookup), "secret") {
					t.Errorf("%s: %s", key, said(lookup))
				}
			}
		})
	}
}

// Only records with a span have spans of look-ups, also where the whole pipeline runs
// under a span; and they cost no allocation.
func TestLookupsOfRecordsWithoutASpan(t *testing.T) {
	tr := newTracing(t, otel.Config{})
	bare := people(nil)
	with := enriching(t, tr, variants["Enrich"], otel.TraceTable(tr.Tracer, "people", bare))
	without := enriching(t, tr, variants["Enrich"], bare)
	ctx, span := tr.provider.Tracer("test").Start(t.Context(), "the service")
	defer span.End()
	for name, r := range map[string]*pipeline.Raw{"none": raw(), "not sampled": raw("traceparent", notSampled)} {
		r.Value = []byte("a")
		allocs := func(k *pipeline.Task) float64 {
			return testing.AllocsPerRun(500, func() {
				if err := k.Process(ctx, r); err != nil {
					t.Fatal(err)
				}
				k.Clear()
			})
		}
		if a, b := allocs(with), allocs(without); a > b {
			t.Errorf("%s: %v allocations, %v without TraceTable", name, a, b)
		}
	}
	if got := tr.names(); len(got) != 0 {
		t.Errorf("spans %q", got)
	}
}

// Inside of a cache a look-up is what the cache could not answer, around it every one.
func TestLookupsAndCaches(t *testing.T) {
	for want, by := range map[int]func(*tracing) table{
		1: func(tr *tracing) table {
			return stages.Cached(otel.TraceTable(tr.Tracer, "people", people(nil)), stages.CachedConfig{})
		},
		3: func(tr *tracing) table {
			return otel.TraceTable[string, string](tr.Tracer, "people", stages.Cached(people(nil), stages.CachedConfig{}))
		},
	} {
		tr := newTracing(t, otel.Config{})
		k := enriching(t, tr, variants["Enrich"], by(tr))
		for range 3 {
			process(t, k, "a", "traceparent", sampled)
		}
		if got := len(tr.named("lookup people")); got != want {
			t.Errorf("%d look-ups, want %d", got, want)
		}
	}
}

// The caller says what kind of system it asks.
func TestLookupsOfARemoteSystem(t *testing.T) {
	tr := newTracing(t, otel.Config{})
	k := enriching(t, tr, variants["Enrich"], otel.TraceTable(tr.Tracer, "people", people(nil),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("db.system.name", "postgresql"))))
	process(t, k, "a", "traceparent", sampled)
	expectSpan(t, tr.one(t, "lookup people"), trace.SpanKindClient, map[string]any{"leat.lookup.found": true, "db.system.name": "postgresql"})
}

// A table of the pipeline stays in the drawing, and is followed.
func TestLookupsInATableOfThePipeline(t *testing.T) {
	tr := newTracing(t, otel.Config{})
	p := pipeline.New("p", tr.Middleware())
	people := pipeline.Table(p, "people", serde.String(), serde.String())
	traced := otel.TraceTable[string, string](tr.Tracer, "people", people)
	pipeline.To(variants["Enrich"](pipeline.From(p, "in", serde.String()), traced), "out", serde.String())
	if got := p.Describe(); !strings.Contains(got, "enrich name (reads people)") {
		t.Errorf("drawn as\n%s", got)
	}
	c := pipelinetest.For(p)
	c.Feed("people", pipelinetest.Text("a", "Anna"))
	c.Feed("in", pipelinetest.Text("k", "a").Header("traceparent", sampled))
	pipelinetest.Run(t, p, c)
	expectChild(t, tr.one(t, "lookup people"), tr.one(t, "process in").SpanContext)
	if got := c.Records("out"); len(got) != 1 || string(got[0].Value) != "a:Anna" {
		t.Errorf("out: %v", got)
	}
}
