package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func TestCompileErrors(t *testing.T) {
	ok := build(func(s stream) stream { return s })
	if _, err := ok.Compile(pipeline.Partition{Topic: "other"}, pipeline.TaskConfig{}); !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("a topic that is no input: %v", err)
	}
	if _, err := ok.Compile(pipeline.Partition{Topic: "out"}, pipeline.TaskConfig{}); !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("an output topic: %v", err)
	}
	if _, err := pipeline.New("").Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{}); !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("an invalid configuration: %v", err)
	}
	task := compileTask(t, ok, pipeline.TaskConfig{})
	if task.Partition() != (pipeline.Partition{Topic: "in", Partition: 3}) || task.Stateful() {
		t.Errorf("partition %v, stateful %v", task.Partition(), task.Stateful())
	}
}

func TestOutputsAccumulateUntilCleared(t *testing.T) {
	task := compileTask(t, build(func(s stream) stream { return s }), pipeline.TaskConfig{})
	process(t, task, "a", "b")
	expectOutputs(t, task, "out=a", "out=b")
	kept := slices.Clone(task.Outputs())
	task.Clear()
	expectOutputs(t, task)
	process(t, task, "c")
	expectOutputs(t, task, "out=c")
	if string(kept[0].Value) != "a" || string(kept[1].Value) != "b" {
		t.Error("what an output refers to changed after Clear")
	}
}

// Several inputs are several tasks; each has the whole graph below its own input.
func TestInputsAreSeparateTasks(t *testing.T) {
	p := pipeline.New("test")
	a, b := pipeline.From(p, "in", serde.String()), pipeline.From(p, "in2", serde.String())
	pipeline.To(stages.Merge("both", a, stages.Map(b, "mark", func(v string) (string, error) { return "2" + v, nil })), "out", serde.String())
	process2 := func(topic, want string) {
		task, err := p.Compile(pipeline.Partition{Topic: topic}, pipeline.TaskConfig{})
		if err != nil {
			t.Fatal(err)
		}
		process(t, task, "v")
		expectOutputs(t, task, want)
	}
	process2("in", "out=v")
	process2("in2", "out=2v")
}

func TestThroughIsAnOutputAndAnInput(t *testing.T) {
	p := pipeline.New("test")
	s := pipeline.Through(pipeline.From(p, "in", serde.String()), "middle", serde.String())
	pipeline.To(s, "out", serde.String())
	process(t, compileTask(t, p, pipeline.TaskConfig{}), "a")
	if got := p.Inputs(); !slices.Equal(got, []string{"in", "middle"}) {
		t.Errorf("inputs %q", got)
	}
	if got := p.Outputs(); !slices.Equal(got, []string{"middle", "out"}) {
		t.Errorf("outputs %q", got)
	}
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	expectOutputs(t, task, "middle=a")
}

// traced is a stage that notes its hooks.
func traced(name string, log *[]string, h func(*pipeline.StageContext, pipeline.Next[string], *pipeline.Hooks)) func(...stream) stream {
	return func(s ...stream) stream {
		return pipeline.Apply(stages.Merge("into "+name, s...), "traced", name, func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			note := func(what string) { *log = append(*log, what+" "+sc.Name()) }
			hooks := pipeline.Hooks{
				Assigned:     func(context.Context) error { note("assigned"); return nil },
				BeforeCommit: func(context.Context) error { note("before"); return nil },
				Committed:    func() { note("committed") },
				Aborted:      func() { note("aborted") },
				Revoked:      func() { note("revoked") },
			}
			if h != nil {
				h(sc, next, &hooks)
			}
			sc.Hook(hooks)
			return next
		})
	}
}

func TestHooksRunUpstreamFirst(t *testing.T) {
	var log []string
	p := pipeline.New("test")
	in := traced("first", &log, nil)(pipeline.From(p, "in", serde.String()))
	left, right := traced("left", &log, nil)(in), traced("right", &log, nil)(in)
	pipeline.To(traced("last", &log, nil)(left, right), "out", serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})
	if !task.Stateful() {
		t.Error("a task with hooks should be stateful")
	}

	for _, c := range []struct {
		name string
		call func()
	}{
		{"assigned", func() { _ = task.Assigned(t.Context()) }},
		{"before", func() { _ = task.BeforeCommit(t.Context()) }},
		{"committed", task.Committed},
		{"aborted", task.Aborted},
		{"revoked", task.Revoked},
	} {
		log = nil
		c.call()
		at := func(stage string) int { return slices.Index(log, c.name+" "+stage) }
		if len(log) != 4 || at("first") != 0 || at("last") != 3 || at("left") < 0 || at("right") < 0 {
			t.Errorf("%s: %q, want first, left and right, last", c.name, log)
		}
	}
}

func TestBeforeCommitPutsOutWhatWasHeldBack(t *testing.T) {
	p := pipeline.New("test")
	s := pipeline.Apply(pipeline.From(p, "in", serde.String()), "batch", "batch", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var held []string
		var last pipeline.Record[string]
		sc.Hook(pipeline.Hooks{
			BeforeCommit: func(ctx context.Context) error {
				if len(held) == 0 {
					return nil
				}
				out := pipeline.With(&last, strings.Join(held, "+"))
				held = nil
				return next(ctx, &out)
			},
			Aborted: func() { held = nil }, // at a commit it holds nothing back
		})
		return func(_ context.Context, r *pipeline.Record[string]) error {
			held, last = append(held, r.Value), *r
			return nil
		}
	})
	pipeline.To(stages.Map(s, "upper", func(v string) (string, error) {
		if v == "bad" {
			return "", errOops
		}
		return strings.ToUpper(v), nil
	}), "out", serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})

	process(t, task, "a", "b")
	expectOutputs(t, task)
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectOutputs(t, task, "out=A+B")
	task.Clear()
	task.Aborted()
	process(t, task, "a", "b") // the replay makes the same
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectOutputs(t, task, "out=A+B")

	process(t, task, "bad")
	expectStage(t, task.BeforeCommit(t.Context()), "upper", errOops) // the downstream stage's, not the hook's
}

func TestHookErrorsAndPanicsAreTheStages(t *testing.T) {
	for _, boom := range []bool{false, true} {
		var log []string
		p := build(func(s stream) stream {
			s = traced("first", &log, nil)(s)
			s = traced("bad", &log, func(_ *pipeline.StageContext, _ pipeline.Next[string], h *pipeline.Hooks) {
				h.BeforeCommit = func(context.Context) error {
					if boom {
						panic(errOops)
					}
					return errOops
				}
				h.Assigned = h.BeforeCommit
			})(s)
			return traced("after", &log, nil)(s)
		})
		task := compileTask(t, p, pipeline.TaskConfig{})
		expectStage(t, task.Assigned(t.Context()), "bad", errOops) // also before any record
		process(t, task, "a")
		log = nil
		expectStage(t, task.BeforeCommit(t.Context()), "bad", errOops)
		if !slices.Equal(log, []string{"before first"}) {
			t.Errorf("%q ran, want the hooks upstream of the failing one", log)
		}
	}
}

// A Goexit in a user function ends the goroutine: Process cannot return, but its
// caller's deferred functions run and the task says nothing wrong.
func TestGoexitPutsOutNothing(t *testing.T) {
	p := build(func(s stream) stream {
		return stages.Peek(s, "exit", func(v string) {
			if v == "bad" {
				runtime.Goexit()
			}
		})
	}, pipeline.DeadLetter("dlq"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	returned, done := false, make(chan struct{})
	go func() {
		defer close(done)
		_ = task.Process(t.Context(), rawRecord("bad"))
		returned = true
	}()
	<-done
	if returned {
		t.Error("Process returned")
	}
	expectOutputs(t, task, "out=a")
}

func TestPanicError(t *testing.T) {
	for _, c := range []struct {
		value any
		text  string
	}{{"boom", "panic: boom"}, {errOops, "panic: oops"}, {nil, "panic: panic called with nil argument"}} {
		p := build(func(s stream) stream { return stages.Peek(s, "peek", func(string) { panic(c.value) }) })
		err := compileTask(t, p, pipeline.TaskConfig{}).Process(t.Context(), rawRecord("a"))
		pe, ok := errors.AsType[*pipeline.PanicError](err)
		if !ok || pe.Error() != c.text || !strings.Contains(string(pe.Stack), "task_test.go") {
			t.Errorf("panic(%v) became %v, with a stack that leads here: %v", c.value, err, ok)
		}
	}
	if got := (&pipeline.PanicError{}).Error(); !strings.Contains(got, "Goexit") {
		t.Errorf("got %q", got)
	}
}

// The middleware's own code is no stage's, before, between and after its calls.
func TestAPanicInMiddlewareIsNoStages(t *testing.T) {
	for _, at := range []string{"before", "after"} {
		p := build(func(s stream) stream {
			return stages.Peek(s, "peek", func(v string) {
				if v == "bad" {
					panic("of the stage")
				}
			}, pipeline.OnError(pipeline.Skip))
		},
			pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
				return func(ctx context.Context, r *pipeline.Raw) error {
					bad := string(r.Value) == "middleware"
					if bad && at == "before" {
						panic(errOops)
					}
					err := next(ctx, r)
					if bad && at == "after" {
						panic(errOops)
					}
					return err
				}
			}))
		task := compileTask(t, p, pipeline.TaskConfig{})
		process(t, task, "a", "bad") // so that a stage has run before, and panicked
		expectStage(t, task.Process(t.Context(), rawRecord("middleware")), "middleware", errOops)
		expectOutputs(t, task, "out=a")
	}
}

func TestMiddlewareOrder(t *testing.T) {
	var log []string
	mark := func(name string) pipeline.Middleware {
		return func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				log = append(log, name)
				err := next(ctx, r)
				log = append(log, "/"+name)
				return err
			}
		}
	}
	p := build(func(s stream) stream { return stages.Peek(s, "peek", func(string) { log = append(log, "chain") }) },
		pipeline.Use(mark("1"), mark("2")), pipeline.Use(mark("3")))
	process(t, compileTask(t, p, pipeline.TaskConfig{}), "a")
	if want := []string{"1", "2", "3", "chain", "/3", "/2", "/1"}; !slices.Equal(log, want) {
		t.Errorf("%q, want %q", log, want)
	}
}

// A middleware may run the chain again: what an earlier call put out is dropped.
func TestMiddlewareMayRunTheChainAgain(t *testing.T) {
	runs := 0
	p := build(func(s stream) stream {
		return stages.FlatMap(s, "count", func(v string) ([]string, error) {
			runs++
			if runs < 3 && v == "flaky" {
				return nil, errOops
			}
			return []string{v, fmt.Sprint(runs)}, nil
		})
	}, pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			_ = next(ctx, r)
			_ = next(ctx, r)
			return next(ctx, r)
		}
	}))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "flaky", "b")
	expectOutputs(t, task, "out=flaky", "out=3", "out=b", "out=6")
}

func TestMiddlewareErrors(t *testing.T) {
	reject := func(wrap func(error) error) pipeline.Option {
		return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				if err := next(ctx, r); err != nil {
					return wrap(err)
				}
				return wrap(nil)
			}
		})
	}
	// An error of its own is the record's, in stage middleware, under the
	// pipeline's policy, and drops what the chain has put out.
	p := build(func(s stream) stream { return s }, pipeline.DeadLetter("dlq"), reject(func(error) error { return errOops }))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	expectOutputs(t, task, "dlq=a")
	if v, _ := task.Outputs()[0].Headers.Get(pipeline.HeaderStage); string(v) != "middleware" {
		t.Errorf("stage %q, want middleware", v)
	}
	// One that wraps a stage's error leaves it its stage and policy.
	p = build(failing(errOops, pipeline.OnError(pipeline.Skip)), reject(func(err error) error {
		if err != nil {
			return fmt.Errorf("seen: %w", err)
		}
		return nil
	}))
	task = compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a", "bad", "b")
	expectOutputs(t, task, "out=a", "out=b")
}
