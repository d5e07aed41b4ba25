package otel

import (
	"container/list"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// openSends are the send spans that wait for their acknowledgement, oldest first.
type openSends struct {
	limit int

	mu    sync.Mutex
	spans map[sendKey]*list.Element
	order list.List // of trace.Span
}

type sendKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

func keyOf(sc trace.SpanContext) sendKey { return sendKey{sc.TraceID(), sc.SpanID()} }

func (o *openSends) add(span trace.Span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spans == nil {
		o.spans = map[sendKey]*list.Element{}
	}
	if len(o.spans) >= o.limit {
		oldest := o.order.Remove(o.order.Front()).(trace.Span)
		delete(o.spans, keyOf(oldest.SpanContext()))
	}
	o.spans[keyOf(span.SpanContext())] = o.order.PushBack(span)
}

// take returns a span and forgets it; nil if there is none.
func (o *openSends) take(sc trace.SpanContext) trace.Span {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.spans[keyOf(sc)]
	if e == nil {
		return nil
	}
	delete(o.spans, keyOf(sc))
	return o.order.Remove(e).(trace.Span)
}
