package otel

import (
	"bytes"
	"container/list"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
)

// openSends are the send spans that wait for their acknowledgement, oldest first.
type openSends struct {
	limit int // bytes

	mu    sync.Mutex
	bytes int
	spans map[sendKey]*list.Element
	order list.List // of openSend
}

type sendKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

type openSend struct {
	span  trace.Span
	bytes int
}

func keyOf(sc trace.SpanContext) sendKey { return sendKey{sc.TraceID(), sc.SpanID()} }

// add keeps a span. If it is larger than the bound, there is none left.
func (o *openSends) add(span trace.Span, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spans == nil {
		o.spans = map[sendKey]*list.Element{}
	}
	for o.bytes+bytes > o.limit && o.order.Len() > 0 {
		o.forget(o.order.Front())
	}
	if bytes <= o.limit {
		o.spans[keyOf(span.SpanContext())] = o.order.PushBack(openSend{span, bytes})
		o.bytes += bytes
	}
}

// take returns a span and forgets it; nil if there is none.
func (o *openSends) take(sc trace.SpanContext) trace.Span {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.spans[keyOf(sc)]
	if e == nil {
		return nil
	}
	return o.forget(e)
}

func (o *openSends) forget(e *list.Element) trace.Span {
	s := o.order.Remove(e).(openSend)
	delete(o.spans, keyOf(s.span.SpanContext()))
	o.bytes -= s.bytes
	return s.span
}

// What a send span takes at most in OpenTelemetry's SDK, its place here included. A topic
// has at most 249 characters.
const (
	sendSpanBytes = 2 << 10
	memberBytes   = 256 // of tracestate or baggage, besides its text
)

// sendBytes is what the send span takes whose context is in the headers: tracestate and
// baggage are kept as texts and as lists of their members.
func (t *Tracer) sendBytes(headers pipeline.Headers) int {
	n := sendSpanBytes
	for i := range headers {
		if t.known(headers[i].Key) {
			n += 2*len(headers[i].Value) + memberBytes*(1+bytes.Count(headers[i].Value, []byte{','}))
		}
	}
	return n
}
