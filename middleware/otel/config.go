package otel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
)

// Records says which records have spans of their own.
type Records uint8

const (
	// SampledRecords are those whose message's context is sampled. It is the zero
	// value: whoever began the trace has decided.
	SampledRecords Records = iota
	// AllRecords begins a trace for records without a context, too, and asks the
	// sampler about every record. A span costs about 0.6 µs if it is not sampled,
	// 3 µs if it is.
	AllRecords
	// NoRecords has spans of transactions only, linked to the contexts that came with
	// the messages.
	NoRecords
)

// Relation is how the span of a record's processing stands to its message's context.
type Relation uint8

const (
	// Linked begins a trace with a link to the message's; the conventions' default.
	// The sampler decides as for any root span.
	Linked Relation = iota
	// Child goes on with the message's trace: one trace through every hop.
	Child
)

// Config configures a [Tracer]. The zero value works.
type Config struct {
	// TracerProvider makes the spans. Default: the global one, as of New.
	TracerProvider trace.TracerProvider
	// Propagator reads and writes the headers. Default: the global one, as of New,
	// which does nothing unless it has been set.
	Propagator propagation.TextMapPropagator
	// Records says which records have spans. Default: SampledRecords.
	Records Records
	// Relation is that to the message's context. Default: Linked.
	Relation Relation
	// Group is the consumer group, for the attribute messaging.consumer.group.name.
	// Default: the attribute is left out.
	Group string
	// MaxOpenSendBytes bounds the memory of the send spans that wait for their
	// acknowledgement, in bytes, for each interceptor. Those of outputs that were
	// dropped, since their record failed, wait in vain; beyond the bound the oldest is
	// forgotten and never exported. A span counts as 2 KiB and what its context takes
	// with tracestate and baggage, which is more than it takes in OpenTelemetry's SDK;
	// what span processors add is theirs. Default: 32 MiB, room for
	// about 14,000.
	MaxOpenSendBytes int
	// ErrorText records the texts of errors. Those of user functions may say what is in
	// a record, which a tracing backend may not be meant to see. Default: an error is
	// recorded by its type, stage and class, with a text only if that is Leat's or Kafka's.
	ErrorText bool
}

const defaultMaxOpenSendBytes = 32 << 20

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	if c.Records > NoRecords {
		bad = append(bad, fmt.Errorf("no such choice: Records is %d", c.Records))
	}
	if c.Relation > Child {
		bad = append(bad, fmt.Errorf("no such choice: Relation is %d", c.Relation))
	}
	if c.MaxOpenSendBytes < 0 {
		bad = append(bad, errors.New("MaxOpenSendBytes must not be negative"))
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: otel.Config:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

// Tracer traces one pipeline, or producers. Its methods may be called from any goroutine.
type Tracer struct {
	cfg        Config
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	fields     []string // headers that carry a context
	w3c        bool     // none but traceparent, tracestate and baggage
	context    bool     // traceparent is one
	baggage    bool     // baggage is one
	carries    bool     // what is injected can be extracted
}

const scope = "github.com/leat-stream/leat/middleware/otel"

// New returns a tracer.
func New(cfg Config) (*Tracer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Propagator == nil {
		cfg.Propagator = otel.GetTextMapPropagator()
	}
	if cfg.MaxOpenSendBytes == 0 {
		cfg.MaxOpenSendBytes = defaultMaxOpenSendBytes
	}
	t := &Tracer{
		cfg: cfg, propagator: cfg.Propagator, fields: cfg.Propagator.Fields(), w3c: true,
		tracer: cfg.TracerProvider.Tracer(scope, trace.WithSchemaURL(schemaURL)),
	}
	for _, f := range t.fields {
		t.w3c = t.w3c && (f == traceparent || f == tracestate || f == baggage)
		t.context = t.context || f == traceparent
		t.baggage = t.baggage || f == baggage
	}
	_, probe := t.extract(context.Background(), t.inject(trace.ContextWithSpanContext(context.Background(), probe), nil))
	t.carries = probe.IsSampled()
	return t, nil
}

// probe is any context.
var probe = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
