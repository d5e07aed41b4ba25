package stages_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

var when = time.UnixMilli(1_700_000_000_000)

func compile(tb testing.TB, p *pipeline.Pipeline, topic string) *pipeline.Task {
	tb.Helper()
	task, err := p.Compile(pipeline.Partition{Topic: topic, Partition: 3}, pipeline.TaskConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	return task
}

// raw is an input record with a key, a header and a timestamp, so that a test can
// see whether they pass.
func raw(value string) *pipeline.Raw {
	return &pipeline.Raw{
		Key: []byte("key"), Value: []byte(value), Timestamp: when,
		Headers: pipeline.Headers{{Key: "h", Value: []byte("1")}},
		Origin:  pipeline.Origin{Topic: "in", Partition: 3, Offset: 7},
	}
}

// strs builds a pipeline from topic in, of strings.
func strs(opts ...pipeline.Option) (*pipeline.Pipeline, pipeline.Stream[string]) {
	p := pipeline.New("test", opts...)
	return p, pipeline.From(p, "in", serde.String())
}

// to ends a stream of strings in topic out.
func to(s pipeline.Stream[string]) { pipeline.To(s, "out", serde.String()) }

// feed processes values and returns what they put out, as topic=value.
func feed(tb testing.TB, p *pipeline.Pipeline, values ...string) []string {
	tb.Helper()
	task := compile(tb, p, "in")
	for _, v := range values {
		if err := task.Process(tb.Context(), raw(v)); err != nil {
			tb.Fatal(err)
		}
	}
	return texts(task)
}

func texts(task *pipeline.Task) []string {
	var got []string
	for _, o := range task.Outputs() {
		got = append(got, o.Topic+"="+string(o.Value))
	}
	return got
}

func expect(tb testing.TB, got []string, want ...string) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("outputs %q, want %q", got, want)
	}
}

// expectHead checks that everything but the value passed through.
func expectHead(tb testing.TB, o pipeline.Output) {
	tb.Helper()
	in := raw("")
	if string(o.Key) != "key" || !o.Timestamp.Equal(when) || o.Origin != in.Origin ||
		len(o.Headers) != 1 || o.Headers[0].Key != "h" || string(o.Headers[0].Value) != "1" {
		tb.Errorf("key, headers, timestamp and origin should pass, got %q %v %v %v", o.Key, o.Headers, o.Timestamp, o.Origin)
	}
}

// stageError processes a value and returns the stage's error.
func stageError(tb testing.TB, p *pipeline.Pipeline, value string) *pipeline.StageError {
	tb.Helper()
	err := compile(tb, p, "in").Process(tb.Context(), raw(value))
	se, ok := errors.AsType[*pipeline.StageError](err)
	if !ok {
		tb.Fatalf("got error %v, want a StageError", err)
	}
	return se
}

var errOops = errors.New("oops")

func upper(s string) (string, error) {
	if s == "bad" {
		return "", errOops
	}
	return strings.ToUpper(s), nil
}
