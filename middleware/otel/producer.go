package otel

import (
	"context"
	"time"

	otelbaggage "go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// ProducerInterceptor is for kafka.ProducerSettings.Interceptors of a producer without a
// pipeline; make it the last, so that the topic is settled. Each traced record has the
// span `send T`, from the send to its outcome, which in a transaction is its
// acknowledgement, not the commit. It is the child of the span in the context that the
// send was given, or without one of what the record's headers carry. A transaction has
// no span: the caller of InTransaction can put one of its own around it.
//
// Which records: with SampledRecords those whose context is sampled, with AllRecords
// every record, with NoRecords none. What context and baggage the send's context holds
// goes into the headers of all of them, so that a decision not to sample travels on.
// A record without either costs a look, and no allocation.
//
// Span processors find span context and baggage in the context that the span begins
// with, and nothing else of the caller's: a send may outlive that. It needs a propagator
// that carries span contexts; without one there are no spans. It may serve several
// producers.
func (t *Tracer) ProducerInterceptor() kafka.HeadersInterceptor {
	return &producerInterceptor{t: t, sends: t.sends()}
}

type producerInterceptor struct {
	t     *Tracer
	sends sends
}

// OnSend begins a send span and injects its context.
func (i *producerInterceptor) OnSend(o *kafka.Outgoing) error {
	t := i.t
	ctx := o.Context()
	parent := trace.SpanContextFromContext(ctx)
	own := parent.IsValid() || otelbaggage.FromContext(ctx).Len() > 0 // to be passed on in any case
	all := t.cfg.Records == AllRecords
	if !parent.IsValid() {
		c := t.look(o.Headers)
		if !all && !own && (!c.any || c.unsampled) {
			return nil
		}
		if c.any {
			ctx, parent = t.extract(ctx, o.Headers)
		}
	}
	switch {
	case t.carries && t.cfg.Records != NoRecords && (all || parent.IsSampled()):
		i.sends.begin(detached(ctx, parent), ctx, o)
	case own:
		o.Headers = t.inject(ctx, o.Headers)
	}
	return nil
}

// detached is a context with a span's and the baggage of ctx, and nothing else of it.
func detached(ctx context.Context, parent trace.SpanContext) context.Context {
	out := trace.ContextWithSpanContext(context.Background(), parent)
	if b := otelbaggage.FromContext(ctx); b.Len() > 0 {
		out = otelbaggage.ContextWithBaggage(out, b)
	}
	return out
}

// OnAcknowledgement does nothing: without the headers it is not known whose it is.
func (i *producerInterceptor) OnAcknowledgement(kafka.Result, error) {}

// OnAcknowledgementHeaders ends a send span.
func (i *producerInterceptor) OnAcknowledgementHeaders(r kafka.Result, headers pipeline.Headers, err error) {
	if _, sc := i.t.carried(headers); sc.IsSampled() {
		i.sends.end(sc, r, err, time.Now())
	}
}
