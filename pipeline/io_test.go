package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func tombstone() *pipeline.Raw {
	r := rawRecord("")
	r.Value = nil
	return r
}

func TestTombstones(t *testing.T) {
	skip, dead := pipeline.Tombstones(pipeline.Skip), pipeline.Tombstones(pipeline.ToDeadLetter)
	for _, c := range []struct {
		name string
		opts []pipeline.StageOption
		pipe []pipeline.Option
		want []string // nil means that the pipeline fails
	}{
		{"the record's error by default", nil, nil, nil},
		{"dead letter by the pipeline's policy", nil, []pipeline.Option{pipeline.DeadLetter("dlq")}, []string{"dlq="}},
		{"by the input's policy", []pipeline.StageOption{pipeline.OnError(pipeline.Skip)}, nil, []string{}},
		{"Skip", []pipeline.StageOption{skip}, nil, []string{}},
		{"Skip wins over the policy", []pipeline.StageOption{skip}, []pipeline.Option{pipeline.DeadLetter("dlq")}, []string{}},
		{"dead letter of their own", []pipeline.StageOption{dead}, []pipeline.Option{pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.Fail)}, []string{"dlq="}},
		{"Fail wins over the policy", []pipeline.StageOption{pipeline.Tombstones(pipeline.Fail)}, []pipeline.Option{pipeline.DeadLetter("dlq")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pipeline.New("test", c.pipe...)
			pipeline.To(pipeline.From(p, "in", serde.String(), c.opts...), "out", serde.String())
			task := compileTask(t, p, pipeline.TaskConfig{})
			err := task.Process(t.Context(), tombstone())
			if c.want == nil {
				expectStage(t, err, "in", pipeline.ErrTombstone)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expectOutputs(t, task, c.want...)
		})
	}
}

// Tombstones sets the policy of null values only.
func TestTombstonesLeavesOtherErrorsAlone(t *testing.T) {
	p := pipeline.New("test")
	pipeline.To(pipeline.From(p, "in", serde.JSON[int](), pipeline.Tombstones(pipeline.Skip)), "out", serde.JSON[int]())
	task := compileTask(t, p, pipeline.TaskConfig{})
	if err := task.Process(t.Context(), rawRecord("{")); err == nil {
		t.Error("an undecodable record was skipped")
	}
}

// A pipeline of bytes passes null and empty values, each as it is.
func TestBytesPassNullAndEmpty(t *testing.T) {
	p := pipeline.New("test")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	task := compileTask(t, p, pipeline.TaskConfig{})
	if err := task.Process(t.Context(), tombstone()); err != nil {
		t.Fatal(err)
	}
	process(t, task, "")
	if o := task.Outputs(); o[0].Value != nil || o[1].Value == nil || len(o[1].Value) != 0 {
		t.Errorf("got %v and %v, want null and empty", o[0].Value, o[1].Value)
	}
}

// slotSerde notes its slots and adds a header when it encodes.
type slotSerde struct {
	serde.Serde[string]
	slots *[]pipeline.Slot
}

func (s slotSerde) Append(ctx context.Context, dst []byte, at pipeline.Slot, v string) ([]byte, error) {
	*s.slots = append(*s.slots, at)
	*at.Headers = at.Headers.Add("encoded", nil)
	if v == "null" {
		return nil, nil
	}
	return s.Serde.Append(ctx, dst, at, v)
}

func (s slotSerde) Decode(ctx context.Context, at pipeline.Slot, data []byte) (string, error) {
	*s.slots = append(*s.slots, at)
	return s.Serde.Decode(ctx, at, data)
}

func TestOutput(t *testing.T) {
	byKey := pipeline.PartitionerFunc(func(string, []byte, []byte, int32) int32 { return 1 })
	var slots []pipeline.Slot
	s := pipeline.Serde[string](slotSerde{serde.String(), &slots})
	p := pipeline.New("test")
	in := pipeline.From(p, "in", s)
	pipeline.To(in, "plain", serde.String())
	pipeline.To(in, "out", s, pipeline.PartitionBy(byKey), pipeline.AddHeader("h", []byte("2")), pipeline.AddHeader("i", nil))
	task := compileTask(t, p, pipeline.TaskConfig{})
	r := rawRecord("a")
	if err := task.Process(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	plain, out := task.Outputs()[0], task.Outputs()[1]
	if plain.Partitioner != nil || !slices.Equal(headerTexts(plain.Headers), []string{"h=1"}) {
		t.Errorf("plain output %+v", plain)
	}
	if out.Partitioner == nil || out.Partitioner.Partition("out", nil, nil, 4) != 1 {
		t.Error("the output lost its partitioner")
	}
	if got := headerTexts(out.Headers); !slices.Equal(got, []string{"h=1", "h=2", "i=", "encoded="}) {
		t.Errorf("headers %q", got)
	}
	for _, o := range task.Outputs() {
		if string(o.Key) != "key" || !o.Timestamp.Equal(when) || o.Origin != r.Origin {
			t.Errorf("key, time and origin should pass: %+v", o)
		}
	}
	if len(r.Headers) != 1 {
		t.Errorf("the input's headers were changed: %q", headerTexts(r.Headers))
	}
	if len(slots) != 2 || slots[0].Topic != "in" || slots[1].Topic != "out" || slots[0].Key || slots[1].Key {
		t.Errorf("slots %+v", slots)
	}
	process(t, task, "null")
	if o := task.Outputs()[3]; o.Value != nil {
		t.Errorf("a serde that returns nil made %q, want null", o.Value)
	}
}

// A slot in the staging area is used again: nothing of an older output shows.
func TestOutputsDoNotInheritFromEarlierOnes(t *testing.T) {
	p := pipeline.New("test", pipeline.OnError(pipeline.Skip))
	full, bare := stages.Split(pipeline.From(p, "in", serde.Bytes()), "full", func(v []byte) bool { return len(v) > 0 })
	pipeline.To(full, "full", serde.Bytes(), pipeline.AddHeader("x", nil), pipeline.PartitionBy(pipeline.PartitionerFunc(nil)))
	pipeline.To(stages.Check(full, "bad", func([]byte) error { return errOops }), "never", serde.Bytes())
	pipeline.To(bare, "bare", serde.Bytes())
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a", "b") // staged, and dropped again
	r := &pipeline.Raw{}
	for range 3 {
		if err := task.Process(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range task.Outputs() {
		if o.Topic != "bare" || o.Key != nil || o.Value != nil || o.Headers != nil || o.Partitioner != nil || !o.Timestamp.IsZero() {
			t.Errorf("got %+v, want an output with nothing but its topic", o)
		}
	}
}

func TestToEach(t *testing.T) {
	p := pipeline.New("test")
	topicOf := func(r *pipeline.Record[string]) string { return r.Value }
	pipeline.ToEach(pipeline.From(p, "in", serde.String()), "by value", topicOf, []string{"x", "y"}, serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "y", "x")
	expectOutputs(t, task, "y=y", "x=x")
	expectStage(t, task.Process(t.Context(), rawRecord("z")), "by value", pipeline.ErrUnknownTopic)
}

func TestZeroStream(t *testing.T) {
	var s stream
	if s.Pipeline() != nil {
		t.Error("the zero Stream belongs to a pipeline")
	}
	s = stages.Map(s, "m", func(v string) (string, error) { return v, nil })
	pipeline.To(pipeline.Stream[string]{}, "out", serde.String())
	pipeline.To(pipeline.Through(pipeline.Stream[string]{}, "middle", serde.String()), "out", serde.String())
	pipeline.To(s, "out", serde.String()) // none of these panics
}

func TestOriginText(t *testing.T) {
	o := pipeline.Origin{Topic: "orders", Partition: 2, Offset: 7}
	p := pipeline.Partition{Topic: "orders", Partition: 2}
	if o.String() != "orders[2]@7" || p.String() != "orders[2]" {
		t.Errorf("%v, %v", o, p)
	}
	sorted := []pipeline.Partition{{Topic: "a", Partition: 2}, {Topic: "a", Partition: 10}, {Topic: "b", Partition: 1}}
	if !slices.IsSortedFunc(sorted, pipeline.Partition.Compare) || p.Compare(p) != 0 {
		t.Error("Compare orders by topic, then by number")
	}
}

func TestFailIsIdempotent(t *testing.T) {
	var inner *pipeline.StageError
	p := build(func(s stream) stream {
		return pipeline.Apply(s, "x", "x", func(sc *pipeline.StageContext, _ pipeline.Next[string]) pipeline.Next[string] {
			return func(context.Context, *pipeline.Record[string]) error {
				if sc.Fail(nil) != nil {
					t.Error("Fail(nil) is an error")
				}
				err := sc.Failf("bad: %w", errOops)
				inner, _ = errors.AsType[*pipeline.StageError](err)
				return sc.Fail(err)
			}
		})
	})
	err := compileTask(t, p, pipeline.TaskConfig{}).Process(t.Context(), rawRecord("a"))
	expectStage(t, err, "x", errOops)
	if se, _ := errors.AsType[*pipeline.StageError](err); se != inner {
		t.Error("an error was given its stage twice")
	}
}
