package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// printTrace draws the request's trace, and the transactions that are linked to it.
func printTrace(w io.Writer, spans tracetest.SpanStubs) error {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	request := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.SpanKind == trace.SpanKindServer })
	if request < 0 {
		return errors.New("the request has no span")
	}
	traceID := spans[request].SpanContext.TraceID()
	fmt.Fprintln(w, "the trace:")
	draw(w, spans, spans[request], 1)
	for _, s := range spans {
		if len(s.Links) > 0 && s.Links[0].SpanContext.TraceID() == traceID {
			fmt.Fprintf(w, "linked to its %s:\n", named(spans, s.Links[0].SpanContext))
			draw(w, spans, s, 1)
		}
	}
	return nil
}

// draw prints a span, and below it what began in it.
func draw(w io.Writer, spans tracetest.SpanStubs, s tracetest.SpanStub, depth int) {
	service, _ := s.Resource.Set().Value(semconv.ServiceNameKey)
	fmt.Fprintf(w, "%-30s %-9s %s\n", strings.Repeat("  ", depth)+s.Name, s.SpanKind, service.AsString())
	for _, below := range spans {
		if below.Parent.SpanID() == s.SpanContext.SpanID() {
			draw(w, spans, below, depth+1)
		}
	}
}

func named(spans tracetest.SpanStubs, sc trace.SpanContext) string {
	for _, s := range spans {
		if s.SpanContext.SpanID() == sc.SpanID() {
			return s.Name
		}
	}
	return "?"
}
