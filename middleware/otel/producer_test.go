package otel_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// remote is a context with the message's span context, as an HTTP server has it.
func remote(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

func withBaggage(t testing.TB, ctx context.Context, text string) context.Context {
	t.Helper()
	b, err := baggage.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return baggage.ContextWithBaggage(ctx, b)
}

// Which records of a producer have a span, whose child it is, and what goes on with them.
func TestProducersContexts(t *testing.T) {
	none := func(ctx context.Context) context.Context { return ctx }
	in := func(traceparent string) func(context.Context) context.Context {
		return func(ctx context.Context) context.Context { return remote(ctx, traceparent) }
	}
	bags := func(ctx context.Context) context.Context { return withBaggage(t, ctx, "shop=b") }
	for name, c := range map[string]struct {
		records otel.Records
		ctx     func(context.Context) context.Context
		headers []string
		trace   string            // the span's; "" means none, "new" another one
		parent  string            // the span's
		want    map[string]string // headers of a record without a span; nil means what it had
	}{
		"the context":                    {otel.SampledRecords, in(sampled), nil, traceID, "00f067aa0ba902b7", nil},
		"the headers":                    {otel.SampledRecords, none, []string{"traceparent", sampled}, traceID, "00f067aa0ba902b7", nil},
		"the context before the headers": {otel.SampledRecords, in(sampled), []string{"traceparent", otherParent}, traceID, "00f067aa0ba902b7", nil},
		"baggage and headers":            {otel.SampledRecords, bags, []string{"traceparent", sampled}, traceID, "00f067aa0ba902b7", nil},
		"nothing":                        {otel.SampledRecords, none, []string{"id", "7"}, "", "", nil},
		"not sampled":                    {otel.SampledRecords, in(notSampled), []string{"traceparent", otherParent}, "", "", map[string]string{"traceparent": notSampled}},
		"headers not sampled":            {otel.SampledRecords, none, []string{"traceparent", notSampled}, "", "", nil},
		"baggage alone":                  {otel.SampledRecords, bags, nil, "", "", map[string]string{"baggage": "shop=b"}},
		"baggage, headers not sampled":   {otel.SampledRecords, bags, []string{"traceparent", notSampled}, "", "", map[string]string{"traceparent": notSampled, "baggage": "shop=b"}},
		"all":                            {otel.AllRecords, none, nil, "new", "0000000000000000", nil},
		"all, in a context":              {otel.AllRecords, in(sampled), nil, traceID, "00f067aa0ba902b7", nil},
		"none":                           {otel.NoRecords, in(sampled), []string{"traceparent", otherParent}, "", "", map[string]string{"traceparent": sampled}},
		"none, in headers":               {otel.NoRecords, none, []string{"traceparent", otherParent}, "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTracing(t, otel.Config{Records: c.records})
			i := tr.ProducerInterceptor()
			o := pipeline.NewOutgoing(c.ctx(t.Context()), nil, []byte("v"), nil)
			o.Topic, o.Headers = "out", raw(c.headers...).Headers
			before := o.Headers
			if err := i.OnSend(o); err != nil {
				t.Fatal(err)
			}
			i.OnAcknowledgementHeaders(kafka.Result{Topic: "out", Partition: 2, Offset: 5}, o.Headers, nil)
			if c.trace == "" {
				if got := tr.names(); len(got) != 0 {
					t.Errorf("spans %q", got)
				}
				if c.want == nil && (len(o.Headers) != len(before) || len(before) > 0 && &o.Headers[0] != &before[0]) {
					t.Errorf("headers %v, want them as they were", o.Headers)
				}
				for k, v := range c.want {
					if got, _ := o.Headers.Get(k); string(got) != v || len(o.Headers) != len(c.want) {
						t.Errorf("headers %v, want %v", o.Headers, c.want)
					}
				}
				return
			}
			span := tr.one(t, "send out")
			if got := span.SpanContext.TraceID().String(); (got != c.trace) != (c.trace == "new") {
				t.Errorf("trace %s, want %s", got, c.trace)
			}
			if got := span.Parent.SpanID().String(); got != c.parent {
				t.Errorf("parent %s, want %s", got, c.parent)
			}
			if got, _ := o.Headers.Get("traceparent"); string(got) != parentHeader(span.SpanContext) {
				t.Errorf("headers %v, want %s", o.Headers, parentHeader(span.SpanContext))
			}
			expectSpan(t, span, trace.SpanKindProducer, map[string]any{
				"messaging.system": "kafka", "messaging.operation.type": "send", "messaging.operation.name": "send", "messaging.destination.name": "out",
				"messaging.destination.partition.id": "2", "messaging.kafka.offset": int64(5),
			})
		})
	}
}

// Every send of a producer has its span's end: written, refused by the producer or by the
// serde, and in transactions that are aborted, where it says acknowledged and no more.
func TestAProducersSends(t *testing.T) {
	t.Parallel()
	c := start(t, "out")
	tr := newTracing(t, otel.Config{})
	settings := kafka.ProducerSettings{
		Brokers: c.fake.Brokers(), MaxHeaders: 3, Interceptors: []kafka.Interceptor{tr.ProducerInterceptor()},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	p := open(t, settings)
	ctx, request := tr.provider.Tracer("test").Start(withBaggage(t, t.Context(), "shop=b"), "request")
	request.End()
	send := func(p interface {
		Send(context.Context, kafka.Record, kafka.Callback) error
	}, headers ...string,
	) error {
		return p.Send(ctx, kafka.Record{Topic: "out", Value: []byte("v"), Headers: raw(headers...).Headers}, nil)
	}
	if err := send(p); err != nil {
		t.Fatal(err)
	}
	if err := send(p, "a", "", "b", ""); !errors.Is(err, kafka.ErrHeaders) { // with the two of the interceptor
		t.Errorf("error %v", err)
	}
	if err := kafka.For(p, "out", broken{}).Send(ctx, "v", nil); !errors.Is(err, kafka.ErrEncode) {
		t.Errorf("error %v", err)
	}
	closeProducer(t, p)

	settings.TransactionalID = "t"
	p = open(t, settings)
	err := p.InTransaction(ctx, func(tx *kafka.Transaction) error { return send(tx) })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.InTransaction(ctx, func(tx *kafka.Transaction) error { return errors.Join(send(tx), errOops) }); !errors.Is(err, errOops) {
		t.Errorf("error %v", err)
	}
	closeProducer(t, p)

	var written, failed int
	for _, s := range tr.named("send out") {
		expectChild(t, s, request.SpanContext())
		if s.Status.Code == codes.Error {
			failed++
		} else {
			written++
		}
	}
	if n := p.Metrics().InterceptorFailures; n != 0 || written+failed != 5 || failed < 2 || len(tr.names()) != 6 {
		t.Errorf("%d written, %d failed, spans %q, %d failures", written, failed, tr.names(), n)
	}
	for _, r := range c.ReadAll("out") {
		if header(t, r, "baggage") != "shop=b" || !strings.Contains(header(t, r, "traceparent"), request.SpanContext().TraceID().String()) {
			t.Errorf("headers %v", r.Headers)
		}
	}
}

// broken cannot encode.
type broken struct{ pipeline.Serde[string] }

func (broken) Append(context.Context, []byte, pipeline.Slot, string) ([]byte, error) {
	return nil, errOops
}

func open(t testing.TB, settings kafka.ProducerSettings) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

func closeProducer(t testing.TB, p *kafka.Producer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = p.Close(ctx)
}

// A record without a context costs a producer's send no allocation.
func TestProducerDoesNotAllocateUnlessSampled(t *testing.T) {
	tr := newTracing(t, otel.Config{})
	i := tr.ProducerInterceptor()
	allocs := func(ctx context.Context, headers ...string) float64 {
		o := pipeline.NewOutgoing(ctx, nil, []byte("v"), nil)
		h := raw(headers...).Headers
		return testing.AllocsPerRun(500, func() {
			o.Topic, o.Headers = "out", h
			if err := i.OnSend(o); err != nil {
				t.Fatal(err)
			}
			i.OnAcknowledgementHeaders(kafka.Result{}, o.Headers, nil)
		})
	}
	if n := allocs(t.Context(), "id", "7"); n != 0 {
		t.Errorf("%v allocations without a context", n)
	}
	if n := allocs(t.Context(), "id", "7", "traceparent", notSampled); n != 0 {
		t.Errorf("%v allocations with headers that are not sampled", n)
	}
	if allocs(remote(t.Context(), sampled)) == 0 {
		t.Error("a sampled record is not traced, or this test does not see allocations")
	}
}

// A send that waits for its outcome does not keep its caller's context alive.
func TestProducersSpansLetTheirContextsGo(t *testing.T) {
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true") // the SDK then keeps the context that a span began with
	tr := newTracing(t, otel.Config{})
	i := tr.ProducerInterceptor()
	gone := make(chan struct{})
	func() {
		request := new([1 << 10]byte)
		runtime.SetFinalizer(request, func(*[1 << 10]byte) { close(gone) })
		type key struct{}
		o := pipeline.NewOutgoing(context.WithValue(remote(t.Context(), sampled), key{}, request), nil, nil, nil)
		o.Topic = "out"
		if err := i.OnSend(o); err != nil {
			t.Fatal(err)
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case <-gone:
			runtime.KeepAlive(i)
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the request is still held")
		}
		runtime.Gosched()
	}
}

// started is a tracer whose spans can be seen before they end.
func started(t testing.TB, cfg otel.Config, opts ...sdk.TracerProviderOption) (*otel.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	cfg.TracerProvider = sdk.NewTracerProvider(append(opts, sdk.WithSpanProcessor(recorder))...)
	tr, err := otel.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr, recorder
}

// A propagator that carries no span context would leave every send span open: there are none.
func TestProducerWithoutAPropagator(t *testing.T) {
	tr, recorder := started(t, otel.Config{Propagator: propagation.Baggage{}, Records: otel.AllRecords})
	o := pipeline.NewOutgoing(remote(withBaggage(t, t.Context(), "shop=b"), sampled), nil, nil, nil)
	if err := tr.ProducerInterceptor().OnSend(o); err != nil {
		t.Fatal(err)
	}
	if v, _ := o.Headers.Get("baggage"); string(v) != "shop=b" || len(o.Headers) != 1 || len(recorder.Started()) != 0 {
		t.Errorf("headers %v, %d spans", o.Headers, len(recorder.Started()))
	}
}

// recordOnly has spans recorded and not sampled, for the span processors alone.
type recordOnly struct{ sdk.Sampler }

func (recordOnly) ShouldSample(sdk.SamplingParameters) sdk.SamplingResult {
	return sdk.SamplingResult{Decision: sdk.RecordOnly}
}

// A span that is recorded and not sampled cannot be found by its outcome: it ends at once.
func TestSpansThatAreOnlyRecordedEnd(t *testing.T) {
	tr, recorder := started(t, otel.Config{Propagator: propagation.TraceContext{}, Records: otel.AllRecords}, sdk.WithSampler(recordOnly{}))
	i := tr.ProducerInterceptor()
	o := pipeline.NewOutgoing(t.Context(), nil, nil, nil)
	if err := i.OnSend(o); err != nil {
		t.Fatal(err)
	}
	i.OnAcknowledgementHeaders(kafka.Result{}, o.Headers, nil)
	if a, b := len(recorder.Started()), len(recorder.Ended()); a != 1 || b != 1 {
		t.Errorf("%d spans started, %d ended", a, b)
	}
}
