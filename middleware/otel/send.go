package otel

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/sinks/kafka"
)

// sends makes the send spans of one interceptor.
type sends struct {
	t      *Tracer
	open   openSends
	topics sync.Map // topic to *sendSpan
}

// sendSpan is what the send spans of a topic have in common.
type sendSpan struct {
	name  string
	begin []trace.SpanStartOption
}

func (t *Tracer) sends() sends { return sends{t: t, open: openSends{limit: t.cfg.MaxOpenSendBytes}} }

// begin begins a send span below parent and injects it into the record. What of the
// sender's context the propagator knows goes on with it; the span itself is not to keep
// that context alive.
func (s *sends) begin(parent, sender context.Context, o *kafka.Outgoing) {
	of := s.of(o.Topic)
	_, span := s.t.tracer.Start(parent, of.name, of.begin...)
	o.Headers = s.t.inject(trace.ContextWithSpan(sender, span), o.Headers)
	switch {
	case !span.IsRecording():
	case span.SpanContext().IsSampled():
		s.open.add(span, s.t.sendBytes(o.Headers))
	default:
		span.End() // for span processors alone; its outcome would not find it
	}
}

func (s *sends) of(topic string) *sendSpan {
	if of, ok := s.topics.Load(topic); ok {
		return of.(*sendSpan)
	}
	of, _ := s.topics.LoadOrStore(topic, &sendSpan{"send " + topic, []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(sendAttributes(topic)...),
	}})
	return of.(*sendSpan)
}

// end ends a send span, if it is known.
func (s *sends) end(sc trace.SpanContext, r kafka.Result, err error, at time.Time) {
	span := s.open.take(sc)
	if span == nil {
		return
	}
	if r.Partition >= 0 {
		span.SetAttributes(partitionID(r.Partition))
	}
	if err == nil && r.Offset >= 0 {
		span.SetAttributes(offset(r.Offset))
	}
	s.t.failed(span, err)
	span.End(trace.WithTimestamp(at))
}
