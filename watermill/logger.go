package watermill

import (
	"context"
	"errors"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

// logging has what Leat logs go to a Watermill logger.
func logging(to watermill.LoggerAdapter) *slog.Logger { return slog.New(&logHandler{to: to}) }

// logHandler is a slog.Handler. Levels and what a logger wants are the adapter's business.
type logHandler struct {
	to    watermill.LoggerAdapter
	group string // before the names of attributes
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	fields := make(watermill.LogFields, r.NumAttrs())
	var failure error
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && a.Key == "error" {
			failure = err
		}
		fields[h.group+a.Key] = a.Value.Resolve().Any()
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		if failure == nil {
			failure = errors.New(r.Message)
		}
		delete(fields, h.group+"error")
		h.to.Error(r.Message, failure, fields)
	case r.Level >= slog.LevelInfo: // Watermill knows no warnings
		h.to.Info(r.Message, fields)
	case r.Level >= slog.LevelDebug:
		h.to.Debug(r.Message, fields)
	default:
		h.to.Trace(r.Message, fields)
	}
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := make(watermill.LogFields, len(attrs))
	for _, a := range attrs {
		fields[h.group+a.Key] = a.Value.Resolve().Any()
	}
	return &logHandler{h.to.With(fields), h.group}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &logHandler{h.to, h.group + name + "."}
}
