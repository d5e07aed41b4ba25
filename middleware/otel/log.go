package otel

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// The keys of [NewLogHandler], as OpenTelemetry names them outside of its own protocol.
const (
	LogTraceID = "trace_id"
	LogSpanID  = "span_id"
)

// NewLogHandler returns a handler that adds trace_id and span_id to what is logged with a
// context that holds a span, at the top level whatever groups are open, and passes
// everything on to inner. With it as pipeline.Logger, or kafka.Config.Logger, the
// engine's lines about a record that waits have them, too. A line without a span costs a
// look into the context; one with a span, after WithAttrs or WithGroup, as much as
// these.
func NewLogHandler(inner slog.Handler) slog.Handler {
	return &logHandler{inner: inner, root: inner}
}

type logHandler struct {
	inner slog.Handler // root with all of steps
	root  slog.Handler
	steps []func(slog.Handler) slog.Handler // from the first group on
}

// Enabled asks inner.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// Handle adds the ids.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return h.inner.Handle(ctx, r)
	}
	ids := []slog.Attr{slog.String(LogTraceID, sc.TraceID().String()), slog.String(LogSpanID, sc.SpanID().String())}
	if len(h.steps) == 0 {
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.inner.Handle(ctx, r)
	}
	inner := h.root.WithAttrs(ids)
	for _, step := range h.steps {
		inner = step(inner)
	}
	return inner.Handle(ctx, r)
}

// WithAttrs adds attributes, to the open group if there is one.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	if len(h.steps) == 0 {
		return NewLogHandler(h.inner.WithAttrs(attrs))
	}
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup opens a group.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h *logHandler) with(step func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{inner: step(h.inner), root: h.root, steps: append(h.steps[:len(h.steps):len(h.steps)], step)}
}
