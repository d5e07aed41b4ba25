package watermill

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
)

type lines struct {
	with watermill.LogFields
	all  *[]string
}

func (l lines) put(level, msg string, err error, fields watermill.LogFields) {
	*l.all = append(*l.all, fmt.Sprint(level, " ", msg, " ", err, " ", l.with.Add(fields)))
}

func (l lines) Error(msg string, err error, f watermill.LogFields) { l.put("error", msg, err, f) }
func (l lines) Info(msg string, f watermill.LogFields)             { l.put("info", msg, nil, f) }
func (l lines) Debug(msg string, f watermill.LogFields)            { l.put("debug", msg, nil, f) }
func (l lines) Trace(msg string, f watermill.LogFields)            { l.put("trace", msg, nil, f) }
func (l lines) With(f watermill.LogFields) watermill.LoggerAdapter {
	return lines{l.with.Add(f), l.all}
}

func TestLogging(t *testing.T) {
	to := lines{all: new([]string)}
	log := logging(to).With("a", 1)
	log.Error("e", "error", errors.New("bad"))
	log.Error("alone")
	log.Warn("w", "error", errors.New("bad"))
	log.WithGroup("g").Info("i", "b", 2)
	log.Debug("d")
	log.Log(t.Context(), slog.LevelDebug-4, "t")
	want := []string{
		"error e bad map[a:1]", "error alone alone map[a:1]", "info w <nil> map[a:1 error:bad]",
		"info i <nil> map[a:1 g.b:2]", "debug d <nil> map[a:1]", "trace t <nil> map[a:1]",
	}
	if !slices.Equal(*to.all, want) {
		t.Errorf("lines %q, want %q", *to.all, want)
	}
}
