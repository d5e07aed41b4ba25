package pipeline_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

type stream = pipeline.Stream[string]

var (
	errOops = errors.New("oops")
	when    = time.UnixMilli(1_700_000_000_123)
)

func header(k, v string) pipeline.Header { return pipeline.Header{Key: k, Value: []byte(v)} }

// rawRecord is an input record of topic in.
func rawRecord(value string) *pipeline.Raw {
	return &pipeline.Raw{
		Key: []byte("key"), Value: []byte(value), Timestamp: when, Headers: pipeline.Headers{header("h", "1")},
		Origin: pipeline.Origin{Topic: "in", Partition: 3, Offset: 42},
	}
}

func compileTask(tb testing.TB, p *pipeline.Pipeline, cfg pipeline.TaskConfig) *pipeline.Task {
	tb.Helper()
	task, err := p.Compile(pipeline.Partition{Topic: "in", Partition: 3}, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return task
}

// process runs values through a task; each must succeed.
func process(tb testing.TB, task *pipeline.Task, values ...string) {
	tb.Helper()
	for _, v := range values {
		if err := task.Process(tb.Context(), rawRecord(v)); err != nil {
			tb.Fatalf("processing %q: %v", v, err)
		}
	}
}

// expectOutputs compares what is staged, as topic=value.
func expectOutputs(tb testing.TB, task *pipeline.Task, want ...string) {
	tb.Helper()
	var got []string
	for _, o := range task.Outputs() {
		got = append(got, o.Topic+"="+string(o.Value))
	}
	if !slices.Equal(got, want) {
		tb.Errorf("outputs %q, want %q", got, want)
	}
}

func expectStage(tb testing.TB, err error, stage string, is error) {
	tb.Helper()
	se, ok := errors.AsType[*pipeline.StageError](err)
	if !ok || se.Stage != stage || se.Pipeline != "test" || !errors.Is(err, is) {
		tb.Errorf("got %v, want %v in stage %q", err, is, stage)
	}
}

// build makes a pipeline from topic in to topic out with one stage between.
func build(stage func(stream) stream, opts ...pipeline.Option) *pipeline.Pipeline {
	p := pipeline.New("test", opts...)
	pipeline.To(stage(pipeline.From(p, "in", serde.String())), "out", serde.String())
	return p
}

// failing is a stage that returns err for the value "bad".
func failing(err error, opts ...pipeline.StageOption) func(stream) stream {
	return func(s stream) stream {
		return stages.Check(s, "check", func(v string) error {
			if v == "bad" {
				return err
			}
			return nil
		}, opts...)
	}
}
