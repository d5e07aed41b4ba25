package otel_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

var errOops = errors.New("oops")

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	sampled     = "00-" + traceID + "-00f067aa0ba902b7-01"
	notSampled  = "00-" + traceID + "-00f067aa0ba902b7-00"
	otherParent = "00-11111111111111111111111111111111-2222222222222222-01"
)

// tracing is a tracer whose spans a test reads.
type tracing struct {
	*otel.Tracer
	exporter *tracetest.InMemoryExporter
	provider *sdk.TracerProvider
}

func newTracing(t testing.TB, cfg otel.Config) *tracing {
	t.Helper()
	tr := &tracing{exporter: tracetest.NewInMemoryExporter()}
	tr.provider = sdk.NewTracerProvider(sdk.WithSyncer(tr.exporter))
	t.Cleanup(func() { _ = tr.provider.Shutdown(context.Background()) })
	cfg.TracerProvider = tr.provider
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	var err error
	if tr.Tracer, err = otel.New(cfg); err != nil {
		t.Fatal(err)
	}
	return tr
}

// named returns the spans of a name.
func (tr *tracing) named(name string) (out tracetest.SpanStubs) {
	for _, s := range tr.exporter.GetSpans() {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// one returns the only span of a name.
func (tr *tracing) one(t testing.TB, name string) tracetest.SpanStub {
	t.Helper()
	spans := tr.named(name)
	if len(spans) != 1 {
		t.Fatalf("%d spans %q, want 1, among %q", len(spans), name, tr.names())
	}
	return spans[0]
}

func (tr *tracing) names() []string {
	var names []string
	for _, s := range tr.exporter.GetSpans() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func expectChild(t testing.TB, child tracetest.SpanStub, parent trace.SpanContext) {
	t.Helper()
	if child.Parent.SpanID() != parent.SpanID() || child.SpanContext.TraceID() != parent.TraceID() {
		t.Errorf("%s has the parent %v in %v, want %v in %v", child.Name, child.Parent.SpanID(), child.SpanContext.TraceID(), parent.SpanID(), parent.TraceID())
	}
}

// expectSpan checks kind and attributes, of which there must be no others.
func expectSpan(t testing.TB, s tracetest.SpanStub, kind trace.SpanKind, want map[string]any) {
	t.Helper()
	if s.SpanKind != kind {
		t.Errorf("%s is a %v, want %v", s.Name, s.SpanKind, kind)
	}
	got := map[string]any{}
	for _, kv := range s.Attributes {
		got[string(kv.Key)] = kv.Value.AsInterface()
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %v, want %v", s.Name, k, got[k], v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s has the attribute %s=%v", s.Name, k, v)
		}
	}
}

func attr(s tracetest.SpanStub, key attribute.Key) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

// cluster is an embedded one with topics of one partition.
type cluster struct {
	*checktest.Client
	fake *embedded.Cluster
}

func start(t testing.TB, topics ...string) *cluster {
	t.Helper()
	var cfg embedded.Config
	for _, name := range topics {
		cfg.Topics = append(cfg.Topics, embedded.Topic{Name: name, Partitions: 1})
	}
	c, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &cluster{checktest.Dial(t, c.Brokers()), c}
}

// run runs a pipeline to the end of its input.
func (c *cluster) run(t testing.TB, p *pipeline.Pipeline, tr *tracing, stats *pipeline.Stats) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := kafka.Run(ctx, p, kafka.Config{
		Brokers: c.fake.Brokers(), CommitInterval: 20 * time.Millisecond, UntilEnd: true, Stats: stats,
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 6 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Interceptors: []kafka.Interceptor{tr.Interceptor(p)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := stats.Snapshot().InterceptorFailures; n != 0 {
		t.Errorf("%d failures of the interceptor", n)
	}
}

// record has headers of name, value ….
func record(topic, value string, headers ...string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

// header returns the only header of a name.
func header(t testing.TB, r *kgo.Record, name string) string {
	t.Helper()
	var got []string
	for _, h := range r.Headers {
		if h.Key == name {
			got = append(got, string(h.Value))
		}
	}
	if len(got) != 1 {
		t.Fatalf("%d headers %s: %q", len(got), name, strings.Join(got, " "))
	}
	return got[0]
}

func parentHeader(sc trace.SpanContext) string {
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01"
}
