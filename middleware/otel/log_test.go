package otel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/slogtest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// inSpan is a context with a span of a known id.
func inSpan(ctx context.Context) context.Context {
	id, _ := trace.TraceIDFromHex(traceID)
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}}))
}

// spanned gives every line a context with a span.
type spanned struct{ slog.Handler }

func (h spanned) Handle(ctx context.Context, r slog.Record) error {
	return h.Handler.Handle(inSpan(ctx), r)
}
func (h spanned) WithAttrs(a []slog.Attr) slog.Handler { return spanned{h.Handler.WithAttrs(a)} }
func (h spanned) WithGroup(n string) slog.Handler      { return spanned{h.Handler.WithGroup(n)} }

// lines reads what was logged as JSON.
func lines(t testing.TB, log *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(log); ; {
		var line map[string]any
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, line)
	}
}

// The handler is one as package slog wants them, with a span and without.
func TestLogHandlerConforms(t *testing.T) {
	for name, with := range map[string]func(slog.Handler) slog.Handler{
		"no span": func(h slog.Handler) slog.Handler { return h },
		"span":    func(h slog.Handler) slog.Handler { return spanned{h} },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			slogtest.Run(t, func(*testing.T) slog.Handler {
				log.Reset()
				return with(otel.NewLogHandler(slog.NewJSONHandler(&log, nil)))
			}, func(t *testing.T) map[string]any {
				line := lines(t, &log)[0]
				if (name == "span") != (line[otel.LogTraceID] == traceID && line[otel.LogSpanID] == "0100000000000000") {
					t.Errorf("line %v", line)
				}
				delete(line, otel.LogTraceID)
				delete(line, otel.LogSpanID)
				return line
			})
		})
	}
}

// The ids are at the top, once, in whatever order attributes and groups have come.
func TestLogHandlerKeepsIDsOnTop(t *testing.T) {
	var log bytes.Buffer
	base := slog.New(otel.NewLogHandler(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})))
	ids := "trace_id=" + traceID + " span_id=0100000000000000"
	group := base.With("a", 1).WithGroup("g")
	three := group.With("b", 2).With("c", 3)
	sibling := three.With("d", 4)
	three.With("e", 5) // of which sibling has nothing
	for _, c := range []struct {
		log  *slog.Logger
		want string
	}{
		{base, "msg=m x=1 " + ids},
		{base.With("a", 1), "msg=m a=1 x=1 " + ids},
		{group, "msg=m a=1 " + ids + " g.x=1"},
		{group.With("b", 2), "msg=m a=1 " + ids + " g.b=2 g.x=1"},
		{sibling, "msg=m a=1 " + ids + " g.b=2 g.c=3 g.d=4 g.x=1"},
		{group.With("b", 2).WithGroup("h").With("c", 3), "msg=m a=1 " + ids + " g.b=2 g.h.c=3 g.h.x=1"},
	} {
		log.Reset()
		c.log.InfoContext(inSpan(t.Context()), "m", "x", 1)
		if got := log.String(); got != c.want+"\n" {
			t.Errorf("got  %swant %s", got, c.want)
		}
		log.Reset()
		c.log.InfoContext(t.Context(), "m")
		if bytes.Contains(log.Bytes(), []byte(otel.LogTraceID)) {
			t.Errorf("without a span: %s", &log)
		}
	}
	if otel.NewLogHandler(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn})).Enabled(t.Context(), slog.LevelInfo) {
		t.Error("enabled where inner is not")
	}
}

// A record that goes to several handlers is left as it is.
func TestLogHandlerLeavesTheRecordAlone(t *testing.T) {
	for attrs := range 20 { // copies of a record with many share memory, which has room for more or not
		var log bytes.Buffer
		h := otel.NewLogHandler(slog.NewTextHandler(&log, nil))
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "m", 0)
		for i := range attrs {
			r.AddAttrs(slog.Int("n", i))
		}
		for range 2 {
			if err := h.Handle(inSpan(t.Context()), r); err != nil {
				t.Fatal(err)
			}
		}
		if bytes.Contains(log.Bytes(), []byte("!BUG")) || bytes.Count(log.Bytes(), []byte("trace_id")) != 2 {
			t.Error(log.String())
		}
	}
}

// The line about a record that waits has the ids of its span, as has what a stage logs.
func TestWaitingIsLoggedWithTheRecordsSpan(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(otel.NewLogHandler(slog.NewJSONHandler(&log, nil)))
	tr := newTracing(t, otel.Config{})
	p := pipeline.New("p", tr.Middleware())
	tries := 0
	pipeline.To(stages.CheckCtx(pipeline.From(p, "in", serde.String()), "check", func(ctx context.Context, _ string) error {
		if tries++; tries == 1 {
			return pipeline.Retriable(errOops)
		}
		logger.InfoContext(ctx, "checked")
		return nil
	}), "out", serde.String())
	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v").Header("traceparent", sampled))
	pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Logger(logger)))
	span := tr.one(t, "process in").SpanContext
	found := map[any]bool{}
	for _, line := range lines(t, &log) {
		if line[otel.LogTraceID] == span.TraceID().String() && line[otel.LogSpanID] == span.SpanID().String() {
			found[line["msg"]] = true
		}
	}
	if !found["checked"] || !found["waiting to try again"] {
		t.Errorf("lines with the ids: %v", found)
	}
}
