package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// The dead letter is the raw input record, whatever stages made of it, with seven
// headers of Leat's after its own.
func TestDeadLetterCarriesTheRawRecord(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			changed := *r
			changed.Headers = r.Headers.Add("middleware", nil)
			return next(ctx, &changed)
		}
	}))
	s := stages.MapRecord(pipeline.From(p, "in", serde.Bytes()), "change", func(_ context.Context, _ *pipeline.Raw) (pipeline.Record[string], error) {
		return pipeline.Record[string]{Key: []byte("other"), Value: "other", Timestamp: when.Add(time.Hour)}, nil
	})
	pipeline.To(stages.Check(s, "check", func(string) error { return errOops }), "out", serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})

	r := rawRecord("\xff raw \x00")
	r.Key = []byte("\xfe key")
	r.Headers = pipeline.Headers{
		header("a", "1"), header("leat.stage", "old"), header("b", "2"), header("a", "3"), header("leat.error", "old"),
		header("leat.pipeline", "old"), header("leat.topic", "old"), header("leat.partition", "9"), header("a", "1"),
		header("leat.offset", "9"), header("leat.timestamp", "9"), header("leat.stage", "older"), header("leat.other", "stays"),
	}
	if err := task.Process(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(task.Outputs()) != 1 {
		t.Fatalf("%d outputs, want 1", len(task.Outputs()))
	}
	o := task.Outputs()[0]
	if o.Topic != "dlq" || string(o.Key) != "\xfe key" || string(o.Value) != "\xff raw \x00" || !o.Timestamp.Equal(when) || o.Origin != r.Origin {
		t.Errorf("got %+v, want the raw record in dlq", o)
	}
	want := []string{
		"a=1", "b=2", "a=3", "a=1", "leat.other=stays",
		"leat.pipeline=test", "leat.stage=check", "leat.error=oops",
		"leat.topic=in", "leat.partition=3", "leat.offset=42", "leat.timestamp=1700000000123",
	}
	if got := headerTexts(o.Headers); !slices.Equal(got, want) {
		t.Errorf("headers\n%q, want\n%q", got, want)
	}
	if r.Headers[1].Key != "leat.stage" || len(r.Headers) != 13 {
		t.Error("the input's headers were changed")
	}
	if o.Partitioner != nil {
		t.Error("a dead letter goes by the sink's default partitioner, murmur2 of its key")
	}
}

func TestDeadLetterOfNullKeyAndNullValue(t *testing.T) {
	p := build(func(s stream) stream { return s }, pipeline.DeadLetter("dlq"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	r := rawRecord("")
	r.Key, r.Value, r.Headers = nil, nil, nil
	if err := task.Process(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	o := task.Outputs()[0]
	if o.Key != nil || o.Value != nil || len(o.Headers) != 7 {
		t.Errorf("got key %v, value %v and %d headers, want nulls and 7", o.Key, o.Value, len(o.Headers))
	}
}

// An input that cannot be decoded is the input's error, and its name is the topic.
func TestDeadLetterOfUndecodableInput(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	pipeline.To(pipeline.From(p, "in", serde.JSON[int]()), "out", serde.JSON[int]())
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "1", "{", "", "2")
	expectOutputs(t, task, "out=1", "dlq={", "dlq=", "out=2")
	if v, _ := task.Outputs()[1].Headers.Get(pipeline.HeaderStage); string(v) != "in" {
		t.Errorf("stage %q, want in", v)
	}
}

// A long error must not make the dead letter too large, nor be cut within a
// character; an error that is not text is made so.
func TestDeadLetterErrorIsBounded(t *testing.T) {
	for _, c := range []struct {
		err  string
		want func(string) bool
	}{
		{strings.Repeat("é", 5000), func(s string) bool { return len(s) == 2048 }},
		{"x" + strings.Repeat("é", 5000), func(s string) bool { return len(s) == 2047 }},
		{"a\xffb", func(s string) bool { return s == "a\uFFFDb" }},
		{strings.Repeat("\x80", 5000), func(s string) bool { return s == "" || utf8.ValidString(s) }},
	} {
		task := compileTask(t, build(failing(errors.New(c.err)), pipeline.DeadLetter("dlq")), pipeline.TaskConfig{})
		process(t, task, "bad")
		v, _ := task.Outputs()[0].Headers.Get(pipeline.HeaderError)
		if !utf8.Valid(v) || !c.want(string(v)) {
			t.Errorf("an error of %d bytes became %d bytes, valid: %v", len(c.err), len(v), utf8.Valid(v))
		}
	}
}

func TestDeadLetterLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task := compileTask(t, build(failing(errOops), pipeline.DeadLetter("dlq"), pipeline.DeadLetterLimit(2)), pipeline.TaskConfig{})
		process(t, task, "bad")
		time.Sleep(30 * time.Second)
		process(t, task, "bad", "a")
		time.Sleep(30*time.Second - time.Nanosecond)
		err := task.Process(t.Context(), rawRecord("bad"))
		expectStage(t, err, "check", pipeline.ErrDeadLetterLimit)
		if !errors.Is(err, errOops) {
			t.Errorf("%v does not say why the last one was refused", err)
		}
		expectOutputs(t, task, "dlq=bad", "dlq=bad", "out=a")

		time.Sleep(time.Nanosecond) // the first is a minute old
		process(t, task, "bad")
		expectStage(t, task.Process(t.Context(), rawRecord("bad")), "check", pipeline.ErrDeadLetterLimit)
		time.Sleep(time.Hour)
		process(t, task, "bad", "bad")
	})
}

func TestNoDeadLetterLimitByDefault(t *testing.T) {
	task := compileTask(t, build(failing(errOops), pipeline.DeadLetter("dlq")), pipeline.TaskConfig{})
	for range 10_000 {
		process(t, task, "bad")
	}
}

func TestTooLarge(t *testing.T) {
	const limit = 600
	grow := func(s stream) stream {
		return stages.Map(s, "grow", func(v string) (string, error) {
			if v == "bad" {
				return strings.Repeat("x", 1000), nil
			}
			return v, nil
		})
	}
	task := compileTask(t, build(grow), pipeline.TaskConfig{MaxRecordSize: limit})
	err := task.Process(t.Context(), rawRecord("bad"))
	expectStage(t, err, "out", pipeline.ErrTooLarge)

	task = compileTask(t, build(grow, pipeline.DeadLetter("dlq")), pipeline.TaskConfig{MaxRecordSize: limit})
	process(t, task, "a", "bad", "b")
	expectOutputs(t, task, "out=a", "dlq=bad", "out=b")
	for _, o := range task.Outputs() {
		if o.Size() > limit {
			t.Errorf("an output of %d bytes, more than the limit", o.Size())
		}
	}
}

// A dead letter that is itself too large fails the pipeline: skipping it would
// lose the record, and the error names the offset.
func TestDeadLetterTooLarge(t *testing.T) {
	p := build(func(s stream) stream {
		return stages.Check(s, "check", func(string) error { return errOops })
	}, pipeline.DeadLetter("dlq"), pipeline.DeadLetterLimit(1))
	task := compileTask(t, p, pipeline.TaskConfig{MaxRecordSize: 600})
	err := task.Process(t.Context(), rawRecord(strings.Repeat("x", 500)))
	expectStage(t, err, "check", pipeline.ErrDeadLetterTooLarge)
	if !errors.Is(err, errOops) || !strings.Contains(err.Error(), "in[3]@42") {
		t.Errorf("%v should name the offset and the reason", err)
	}
	expectOutputs(t, task)
	process(t, task, "small") // and it did not count against the limit
}

// Reject is how an engine applies the policy to a record that the broker refused.
func TestReject(t *testing.T) {
	task := compileTask(t, build(failing(errOops), pipeline.DeadLetter("dlq")), pipeline.TaskConfig{})
	if err := task.Reject(t.Context(), rawRecord("a"), "out", pipeline.ErrTooLarge); err != nil {
		t.Fatal(err)
	}
	expectOutputs(t, task, "dlq=a")
	if v, _ := task.Outputs()[0].Headers.Get(pipeline.HeaderStage); string(v) != "out" {
		t.Errorf("stage %q, want out", v)
	}
	task = compileTask(t, build(failing(errOops)), pipeline.TaskConfig{})
	expectStage(t, task.Reject(t.Context(), rawRecord("a"), "out", pipeline.ErrTooLarge), "out", pipeline.ErrTooLarge)
}
