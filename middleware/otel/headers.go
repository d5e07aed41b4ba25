package otel

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
)

// W3C's headers.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggage     = "baggage"
)

// reader is a record's headers to a propagator that extracts: the last of a name counts.
type reader pipeline.Headers

// Get returns the last value of a name.
func (h *reader) Get(key string) string {
	v, _ := pipeline.Headers(*h).Get(key)
	return string(v)
}

// Set does nothing.
func (h *reader) Set(string, string) {}

// Keys returns the names.
func (h *reader) Keys() []string {
	var keys []string
	for i := range *h {
		keys = append(keys, (*h)[i].Key)
	}
	return keys
}

// writer collects what a propagator injects.
type writer struct{ set pipeline.Headers }

// Get returns what was set.
func (w *writer) Get(key string) string {
	v, _ := w.set.Get(key)
	return string(v)
}

// Set replaces.
func (w *writer) Set(key, value string) { w.set = w.set.Set(key, []byte(value)) }

// Keys returns the names that were set.
func (w *writer) Keys() []string { return (*reader)(&w.set).Keys() }

// inject returns headers with ctx's context in the place of any other.
func (t *Tracer) inject(ctx context.Context, headers pipeline.Headers) pipeline.Headers {
	var w writer
	t.propagator.Inject(ctx, &w)
	out := make(pipeline.Headers, 0, len(headers)+len(w.set))
	for _, h := range headers {
		if _, replaced := w.set.Get(h.Key); !replaced && !t.known(h.Key) {
			out = append(out, h)
		}
	}
	return append(out, w.set...)
}

// extract returns ctx with what the headers carry, and the context of the message's
// span, which is not valid if they carry none. It allocates.
func (t *Tracer) extract(ctx context.Context, headers pipeline.Headers) (context.Context, trace.SpanContext) {
	ctx = t.propagator.Extract(ctx, (*reader)(&headers))
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsRemote() { // the span under which the pipeline runs
		sc = trace.SpanContext{}
	}
	return ctx, sc
}

// carried is extract for outputs, which allocates nothing if there is nothing sampled.
func (t *Tracer) carried(headers pipeline.Headers) (context.Context, trace.SpanContext) {
	if c := t.look(headers); !c.any || c.unsampled {
		return nil, trace.SpanContext{}
	}
	return t.extract(context.Background(), headers)
}

// known reports whether a header is the propagator's.
func (t *Tracer) known(key string) bool { return slices.Contains(t.fields, key) }

// glance is what a look at the headers shows, without an allocation.
type glance struct {
	any       bool // a header that the propagator knows
	baggage   bool // of W3C's headers
	unsampled bool // for certain
}

func (t *Tracer) look(headers pipeline.Headers) (c glance) {
	if !t.w3c {
		c.any = slices.ContainsFunc(headers, func(h pipeline.Header) bool { return t.known(h.Key) })
		return c
	}
	for i := range headers { // of every record
		switch h := &headers[i]; h.Key {
		case traceparent:
			if t.context {
				c.any, c.unsampled = true, unsampled(h.Value)
			}
		case tracestate:
			c.any = c.any || t.context
		case baggage:
			if t.baggage {
				c.any, c.baggage = true, true
			}
		}
	}
	return c
}

// unsampled reads the flags of a traceparent: version-trace-parent-flags.
func unsampled(v []byte) bool {
	const flags = 53
	if len(v) < flags+2 || v[flags-1] != '-' {
		return false // the propagator shall say
	}
	switch v[flags+1] {
	case '0', '2', '4', '6', '8', 'a', 'c', 'e':
		return true
	}
	return false
}
