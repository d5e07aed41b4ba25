package otel

import (
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
	// MaxOpenSends bounds the send spans that wait for their acknowledgement. Those of
	// outputs that were dropped, since their record failed, wait in vain; beyond the
	// bound the oldest is forgotten and never exported. Default: 8,192.
	MaxOpenSends int
}

const defaultMaxOpenSends = 8192

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	if c.Records > NoRecords {
		bad = append(bad, fmt.Errorf("no such choice: Records is %d", c.Records))
	}
	if c.Relation > Child {
		bad = append(bad, fmt.Errorf("no such choice: Relation is %d", c.Relation))
	}
	if c.MaxOpenSends < 0 {
		bad = append(bad, errors.New("MaxOpenSends must not be negative"))
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: otel.Config:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

// Tracer traces one pipeline. Its methods may be called from any goroutine.
type Tracer struct {
	cfg        Config
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	fields     []string // headers that carry a context
	w3c        bool     // none but traceparent, tracestate and baggage
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
	if cfg.MaxOpenSends == 0 {
		cfg.MaxOpenSends = defaultMaxOpenSends
	}
	t := &Tracer{
		cfg: cfg, propagator: cfg.Propagator, fields: cfg.Propagator.Fields(), w3c: true,
		tracer: cfg.TracerProvider.Tracer(scope, trace.WithSchemaURL(schemaURL)),
	}
	for _, f := range t.fields {
		t.w3c = t.w3c && (f == traceparent || f == tracestate || f == baggage)
	}
	return t, nil
}
