package stages_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/stages"
)

func TestMap(t *testing.T) {
	for name, build := range map[string]func(pipeline.Stream[string]) pipeline.Stream[string]{
		"Map": func(s pipeline.Stream[string]) pipeline.Stream[string] { return stages.Map(s, "upper", upper) },
		"MapCtx": func(s pipeline.Stream[string]) pipeline.Stream[string] {
			return stages.MapCtx(s, "upper", func(_ context.Context, v string) (string, error) { return upper(v) })
		},
		"MapRecord": func(s pipeline.Stream[string]) pipeline.Stream[string] {
			return stages.MapRecord(s, "upper", func(_ context.Context, r *pipeline.Record[string]) (pipeline.Record[string], error) {
				v, err := upper(r.Value)
				return pipeline.With(r, v), err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			to(build(s))
			task := compile(t, p, "in")
			if err := task.Process(t.Context(), raw("a")); err != nil {
				t.Fatal(err)
			}
			expect(t, texts(task), "out=A")
			expectHead(t, task.Outputs()[0])

			se := stageError(t, p, "bad")
			if se.Stage != "upper" || !errors.Is(se, errOops) {
				t.Errorf("got %v, want the error of stage upper", se)
			}
		})
	}
}

func TestMapRecordChangesAllButTheOrigin(t *testing.T) {
	p, s := strs()
	later := when.Add(time.Hour)
	to(stages.MapRecord(s, "change", func(_ context.Context, r *pipeline.Record[string]) (pipeline.Record[string], error) {
		return pipeline.Record[string]{
			Key: []byte("new"), Value: r.Value, Headers: r.Headers.Add("more", []byte("2")), Timestamp: later,
		}, nil
	}))
	task := compile(t, p, "in")
	in := raw("a")
	if err := task.Process(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	o := task.Outputs()[0]
	if string(o.Key) != "new" || len(o.Headers) != 2 || !o.Timestamp.Equal(later) {
		t.Errorf("key %q, headers %v, timestamp %v: want the function's", o.Key, o.Headers, o.Timestamp)
	}
	if o.Origin != in.Origin {
		t.Errorf("origin %v, want the input's %v", o.Origin, in.Origin)
	}
	if len(in.Headers) != 1 {
		t.Errorf("the input's headers were changed: %v", in.Headers)
	}
}
