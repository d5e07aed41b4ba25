package otel

import (
	"context"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
)

// Middleware gives each traced record the span `process T`, for as long as the
// middleware and stages inside of it run: make it the outermost. Their context holds
// the span, and the message's baggage; so do the headers of the record that they see,
// and with them its outputs'. With middleware.Recover inside, a panic is recorded as the
// error that it becomes.
//
// The context of a record that has no span holds the message's context only if there was
// baggage, or if it could not be seen at once that there is to be no span: for W3C's
// headers alone, nothing is allocated then.
func (t *Tracer) Middleware() pipeline.Option {
	return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		h := &handler{t: t, next: next}
		return h.handle
	})
}

// handler is the middleware of one task, so of one partition.
type handler struct {
	t       *Tracer
	next    pipeline.Handler
	topic   string
	name    string
	begin   []trace.SpanStartOption
	changed pipeline.Raw
}

func (h *handler) handle(ctx context.Context, r *pipeline.Raw) error {
	t := h.t
	c := t.look(r.Headers)
	all := t.cfg.Records == AllRecords
	spanless := c.unsampled || t.w3c && t.cfg.Records == NoRecords
	if !all && (!c.any || spanless && !c.baggage) {
		return h.next(ctx, r)
	}
	var message trace.SpanContext
	if c.any {
		ctx, message = t.extract(ctx, r.Headers)
	}
	if t.cfg.Records == NoRecords || !all && !message.IsSampled() {
		return h.next(ctx, r)
	}
	return h.traced(ctx, message, r)
}

func (h *handler) traced(ctx context.Context, message trace.SpanContext, r *pipeline.Raw) error {
	t := h.t
	if h.name == "" || h.topic != r.Origin.Topic {
		h.topic, h.name = r.Origin.Topic, "process "+r.Origin.Topic
		h.begin = []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(t.processAttributes(h.topic)...),
		}
	}
	begin := h.begin[:len(h.begin):len(h.begin)]
	if t.cfg.Relation == Linked || !message.IsValid() {
		begin = append(begin, trace.WithNewRoot())
		if message.IsValid() {
			begin = append(begin, trace.WithLinks(trace.Link{SpanContext: message}))
		}
	}
	ctx, span := t.tracer.Start(ctx, h.name, begin...)
	if span.IsRecording() {
		span.SetAttributes(partitionID(r.Origin.Partition), offset(r.Origin.Offset))
		if r.Value == nil {
			span.SetAttributes(semconv.MessagingKafkaMessageTombstone(true))
		}
	}
	returned := false
	defer func() {
		if !returned { // a panic, on its way to whoever recovers it
			panicked(span)
		}
		span.End()
	}()
	h.changed = *r
	h.changed.Headers = t.inject(ctx, r.Headers)
	ctx = context.WithValue(ctx, recordKey{}, true)
	err := h.next(ctx, &h.changed)
	returned = true
	t.failed(span, err)
	return err
}
