package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// stamping adds the header "stamp" with append, which must not reach anybody else.
func stamping(o *pipeline.Outgoing) {
	o.Headers = append(o.Headers, header("stamp", o.Topic))
}

// What an interceptor changes is what is sent, and each output of a fan-out is its own.
// It sees the value before the serde does, and AddHeader's headers.
func TestInterceptSeesEveryOutput(t *testing.T) {
	later := when.Add(time.Hour)
	var seen []string
	intercept := func(o *pipeline.Outgoing) {
		seen = append(seen, fmt.Sprintf("%s %s=%v %q", o.Topic, o.Key(), o.Value(), headerTexts(o.Headers)))
		stamping(o)
		if o.Topic == "a" {
			o.Topic, o.Timestamp = "b", later
		}
	}
	var slots []pipeline.Slot
	p := pipeline.New("test")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(in, "a", slotSerde{serde.String(), &slots}, pipeline.AddHeader("h", []byte("2")))
	pipeline.To(stages.Map(in, "length", func(s string) (int, error) { return len(s), nil }), "b", serde.JSON[int]())
	task := compileTask(t, p, pipeline.TaskConfig{Intercept: intercept})
	r := rawRecord("abc")
	r.Headers = append(make(pipeline.Headers, 0, 8), r.Headers...) // room in which two branches could meet
	if err := task.Process(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if want := []string{`a key=abc ["h=1" "h=2"]`, `b key=3 ["h=1"]`}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
	expectOutputs(t, task, "b=abc", "b=3")
	out := task.Outputs()
	if got := headerTexts(out[0].Headers); !slices.Equal(got, []string{"h=1", "h=2", "stamp=a", "encoded="}) || !out[0].Timestamp.Equal(later) {
		t.Errorf("first output: headers %q, time %v", got, out[0].Timestamp)
	}
	if got := headerTexts(out[1].Headers); !slices.Equal(got, []string{"h=1", "stamp=b"}) || !out[1].Timestamp.Equal(when) {
		t.Errorf("second output: headers %q, time %v", got, out[1].Timestamp)
	}
	if len(slots) != 1 || slots[0].Topic != "b" {
		t.Errorf("the serde encodes for %+v", slots)
	}
	if got := headerTexts(r.Headers[:cap(r.Headers)]); slices.ContainsFunc(got, func(h string) bool { return strings.HasPrefix(h, "stamp") }) {
		t.Errorf("the input's headers were written to: %q", got)
	}
}

// A serde that is tried again does not have the record intercepted again, and starts
// from what the interceptors left.
func TestInterceptOnceWhateverIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calls, tries int
		s := failingSerde{serde.String(), func(at pipeline.Slot) error {
			*at.Headers = at.Headers.Add("try", fmt.Append(nil, tries))
			if tries++; tries < 4 {
				return pipeline.Retriable(errOops)
			}
			return nil
		}}
		p := pipeline.New("test")
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", s)
		task := compileTask(t, p, pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) { calls++; stamping(o) }})
		process(t, task, "a", "b")
		if calls != 2 {
			t.Errorf("%d calls for 2 outputs", calls)
		}
		if got := headerTexts(task.Outputs()[0].Headers); !slices.Equal(got, []string{"h=1", "stamp=out", "try=3"}) {
			t.Errorf("headers %q", got)
		}
	})
}

// failingSerde asks before each encoding.
type failingSerde struct {
	pipeline.Serde[string]
	ask func(pipeline.Slot) error
}

func (s failingSerde) Append(ctx context.Context, dst []byte, at pipeline.Slot, v string) ([]byte, error) {
	if err := s.ask(at); err != nil {
		return nil, err
	}
	return s.Serde.Append(ctx, dst, at, v)
}

// A dead letter is shown with its headers and the raw value; it stays what it is.
func TestInterceptDeadLetters(t *testing.T) {
	p := build(failing(errOops), pipeline.DeadLetter("dlq"))
	var raw any
	task := compileTask(t, p, pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) {
		if reason, _ := o.Headers.Get(pipeline.HeaderError); string(reason) == "oops" {
			raw = o.Value()
		}
		stamping(o)
	}})
	process(t, task, "bad", "good")
	expectOutputs(t, task, "dlq=bad", "out=good")
	if b, ok := raw.([]byte); !ok || string(b) != "bad" {
		t.Errorf("the dead letter's value was shown as %v", raw)
	}
	if h := task.Outputs()[0].Headers; h[len(h)-1].Key != "stamp" {
		t.Errorf("headers %q", headerTexts(h))
	}
	// What a refused record's dead letter is shown as is no different.
	if err := task.Reject(t.Context(), rawRecord("refused"), "out", errOops); err != nil {
		t.Fatal(err)
	}
	if h := task.Outputs()[2].Headers; h[len(h)-1].Key != "stamp" {
		t.Errorf("headers of the refused record %q", headerTexts(h))
	}
}

// What interceptors add counts towards the size.
func TestInterceptedHeadersCount(t *testing.T) {
	large := func(o *pipeline.Outgoing) { o.Headers = o.Headers.Add("large", make([]byte, 1000)) }
	task := compileTask(t, build(asIs), pipeline.TaskConfig{MaxRecordSize: 1000, Intercept: large})
	expectStage(t, task.Process(t.Context(), rawRecord("v")), "out", pipeline.ErrTooLarge)
	task = compileTask(t, build(failing(errOops), pipeline.DeadLetter("dlq")), pipeline.TaskConfig{MaxRecordSize: 1000, Intercept: large})
	if err := task.Process(t.Context(), rawRecord("bad")); !errors.Is(err, pipeline.ErrDeadLetterTooLarge) {
		t.Errorf("dead letter: %v", err)
	}
}

// A sink whose interceptors break the contract does not get a record where the pipeline
// does not write: its topics were checked, nobody else's.
func TestInterceptKeepsToTheTopics(t *testing.T) {
	astray := func(o *pipeline.Outgoing) { o.Topic = "elsewhere" }
	task := compileTask(t, build(asIs), pipeline.TaskConfig{Intercept: astray})
	expectStage(t, task.Process(t.Context(), rawRecord("v")), "out", pipeline.ErrUnknownTopic)
	task = compileTask(t, build(failing(errOops), pipeline.DeadLetter("dlq")), pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) { o.Topic = "out" }})
	expectStage(t, task.Process(t.Context(), rawRecord("bad")), "check", pipeline.ErrUnknownTopic)
	if n := len(task.Outputs()); n != 0 {
		t.Errorf("%d outputs", n)
	}
	free := pipeline.NewOutgoing(t.Context(), nil, nil, nil) // without a pipeline any topic will do
	free.Topic = "elsewhere"
	if err := free.Check(); err != nil {
		t.Error(err)
	}
}

func TestInterceptThatPanicsIsTheOutputsError(t *testing.T) {
	task := compileTask(t, build(asIs), pipeline.TaskConfig{Intercept: func(*pipeline.Outgoing) { panic(errOops) }})
	expectStage(t, task.Process(t.Context(), rawRecord("v")), "out", errOops)
}

// A replay makes outputs anew, so that they are intercepted again and nothing is there
// twice; a table's dead letters are intercepted, too.
func TestInterceptAgainOnReplay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := build(failing(errOops), pipeline.DeadLetter("dlq"))
		pipeline.Table(p, "names", serde.String(), serde.String())
		var mu sync.Mutex
		calls := map[string]int{}
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 4), Intercept: func(o *pipeline.Outgoing) {
			mu.Lock()
			defer mu.Unlock()
			calls[o.Topic]++
			stamping(o)
		}})
		c.Feed("names", undecodable)
		feed(c, 0, "a", "bad", "b")
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if left := c.Armed(); len(left) > 0 {
			t.Fatalf("%v did not go off", left)
		}
		expectTexts(t, c, "out", "a", "b")
		for topic, n := range map[string]int{"out": 2, "dlq": 2} {
			var stamps []string
			for _, r := range c.Records(topic) {
				for v := range r.Headers.All("stamp") {
					stamps = append(stamps, string(v))
				}
			}
			if want := slices.Repeat([]string{topic}, n); !slices.Equal(stamps, want) {
				t.Errorf("stamps in %q: %q, want %q", topic, stamps, want)
			}
		}
		if calls["out"] != 4 || calls["dlq"] != 3 { // the table's letter is not made anew
			t.Errorf("calls %v", calls)
		}
	})
}

// point is a value that does not fit into a word, so that an any of it is allocated.
type point struct{ X, Y int64 }

// Interceptors cost no allocation of ours, not even with a value that would have to be
// boxed: that is left until somebody asks.
func TestInterceptAllocations(t *testing.T) {
	const batch = 500
	count := func(intercept func(*pipeline.Outgoing)) float64 {
		p := pipeline.New("test")
		points := stages.Map(pipeline.From(p, "in", serde.Bytes()), "point", func(b []byte) (point, error) { return point{int64(len(b)), 2}, nil })
		pipeline.To(points, "out", pointSerde{})
		task, r, ctx := compileTask(t, p, pipeline.TaskConfig{Intercept: intercept}), rawRecord("v"), t.Context()
		run := func() {
			for range batch {
				if err := task.Process(ctx, r); err != nil {
					t.Fatal(err)
				}
			}
			task.Clear()
		}
		run()
		return testing.AllocsPerRun(50, run)
	}
	at := when.Add(time.Second)
	for name, tt := range map[string]struct {
		intercept func(*pipeline.Outgoing)
		most      float64
	}{
		"none":           {nil, 1}, // a chunk of the arena
		"one":            {func(o *pipeline.Outgoing) { o.Timestamp = at; _ = o.Key() }, 1},
		"asks the value": {func(o *pipeline.Outgoing) { value = o.Value() }, batch + 1},
	} {
		if n := count(tt.intercept); n > tt.most {
			t.Errorf("%s: %v allocations for %d records, want at most %v", name, n, batch, tt.most)
		}
	}
	if value != (point{1, 2}) {
		t.Errorf("value %v", value)
	}
}

var value any

type pointSerde struct{ pipeline.Serde[point] }

func (pointSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, p point) ([]byte, error) {
	return append(dst, byte(p.X), byte(p.Y)), nil
}

func BenchmarkIntercept(b *testing.B) {
	for name, intercept := range map[string]func(*pipeline.Outgoing){"none": nil, "empty": func(*pipeline.Outgoing) {}} {
		b.Run(name, func(b *testing.B) {
			task, r, ctx := compileTask(b, build(asIs), pipeline.TaskConfig{Intercept: intercept}), rawRecord("v"), b.Context()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := task.Process(ctx, r); err != nil {
					b.Fatal(err)
				}
				if i%500 == 0 {
					task.Clear()
				}
			}
		})
	}
}

// The context is what reaches the output; a dead letter has none.
func TestInterceptHasTheContext(t *testing.T) {
	type key struct{}
	var seen []any
	mark := pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			return next(context.WithValue(ctx, key{}, "mark"), r)
		}
	})
	p := build(failing(errOops), pipeline.DeadLetter("dlq"), mark)
	task := compileTask(t, p, pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) { seen = append(seen, o.Context().Value(key{})) }})
	for _, v := range []string{"good", "bad"} {
		if err := task.Process(t.Context(), rawRecord(v)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []any{"mark", nil}; !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
	if new(pipeline.Outgoing).Context() == nil {
		t.Error("no context")
	}
}
