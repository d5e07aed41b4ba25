package pipeline_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// waiting is a record that a late stage has.
type waiting struct {
	held *pipeline.Held
	r    pipeline.Record[string]
}

// late is a stage that lets records wait until there are more than window of them, or a
// commit is due. It goes on with the first of them, or, if grouped, with all that were
// there before.
type late struct {
	window  int
	grouped bool
	forgets bool // to go on before a commit
	name    string

	mu      sync.Mutex // of several partitions
	resumed []string
}

func (l *late) stage(s stream) stream {
	return pipeline.Apply(s, "late", cmp.Or(l.name, "late"), func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var queue []waiting
		forward := func(ctx context.Context, most int) error {
			for len(queue) > most {
				w := queue[0]
				queue = queue[1:]
				if err := sc.Resume(ctx, w.held, func(ctx context.Context) error {
					l.mu.Lock()
					l.resumed = append(l.resumed, w.r.Value)
					l.mu.Unlock()
					return next(ctx, &w.r)
				}); err != nil {
					return err
				}
			}
			return nil
		}
		together := func(ctx context.Context) error {
			var all []*pipeline.Held
			var values []string
			for _, w := range queue {
				all = append(all, w.held)
				if w.held.Alive() {
					values = append(values, w.r.Value)
				}
			}
			queue = nil
			return sc.ResumeAll(ctx, all, func(ctx context.Context) error {
				return next(ctx, &pipeline.Record[string]{Value: strings.Join(values, "+")})
			})
		}
		sc.Hook(pipeline.Hooks{
			BeforeCommit: func(ctx context.Context) error {
				switch {
				case l.forgets:
					return nil
				case l.grouped:
					return together(ctx)
				}
				return forward(ctx, 0)
			},
			Aborted: func() { queue = nil },
		})
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			if l.grouped && len(queue) == l.window {
				if err := together(ctx); err != nil {
					return err
				}
			}
			queue = append(queue, waiting{sc.Hold(), *r})
			if l.grouped {
				return nil
			}
			return forward(ctx, l.window)
		}
	})
}

// twoWays is a pipeline in which each record goes by a late stage and, as it is, past it,
// through a stage that refuses bad values. One that is quick only goes past.
func twoWays(l *late, bad ...string) *pipeline.Pipeline {
	p := pipeline.New("test", pipeline.DeadLetter("dead"))
	in := pipeline.From(p, "in", serde.String())
	refuse := func(s stream, name string, prefix string) stream {
		return stages.Check(s, name, func(v string) error {
			for _, b := range bad {
				if prefix+v == b {
					return errOops
				}
				if prefix+v == b+"!" {
					panic(b)
				}
			}
			return nil
		})
	}
	slow := stages.Filter(in, "slow", func(v string) bool { return v != "quick" })
	pipeline.To(refuse(l.stage(slow), "after", "after "), "late", serde.String())
	pipeline.To(refuse(in, "past", "past "), "direct", serde.String())
	return p
}

func beforeCommit(t *testing.T, task *pipeline.Task) {
	t.Helper()
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Nothing of a record leaves before all of it, and nothing of those behind it.
func TestHeldRecordsAreWholeAndInOrder(t *testing.T) {
	task := compileTask(t, twoWays(&late{window: 2}), pipeline.TaskConfig{})
	process(t, task, "quick", "a", "b", "quick")
	expectOutputs(t, task, "direct=quick")
	task.Clear()
	process(t, task, "c")
	expectOutputs(t, task, "direct=a", "late=a")
	task.Clear()
	process(t, task, "d")
	expectOutputs(t, task, "direct=b", "late=b", "direct=quick")
	beforeCommit(t, task)
	expectOutputs(t, task, "direct=b", "late=b", "direct=quick", "direct=c", "late=c", "direct=d", "late=d")
	if !task.Stateful() {
		t.Error("a task that holds records has state")
	}
}

// Whichever part of a record fails, and when: its dead letter takes the place of all of
// it, and the others know nothing of that.
func TestPartOfAHeldRecordFails(t *testing.T) {
	for bad, resumed := range map[string]string{"after b": "abcd", "after b!": "abcd", "past b": "acd", "past b!": "acd"} {
		t.Run(bad, func(t *testing.T) {
			l := &late{window: 2}
			task := compileTask(t, twoWays(l, strings.TrimSuffix(bad, "!")), pipeline.TaskConfig{})
			process(t, task, "a", "b", "c", "d")
			beforeCommit(t, task)
			expectOutputs(t, task, "direct=a", "late=a", "dead=b", "direct=c", "late=c", "direct=d", "late=d")
			if got := strings.Join(l.resumed, ""); got != resumed {
				t.Errorf("resumed %s, want %s", got, resumed)
			}
			h := task.Outputs()[2].Headers
			if stage, _ := h.Get(pipeline.HeaderStage); string(stage) != strings.Fields(bad)[0] {
				t.Errorf("the dead letter is of stage %q", stage)
			}
		})
	}
}

// Of a record of which two parts fail there is one dead letter, that of the first.
func TestTwoPartsOfAHeldRecordFail(t *testing.T) {
	for _, window := range []int{0, 2} {
		task := compileTask(t, twoWays(&late{window: window}, "after a", "past a", "after b"), pipeline.TaskConfig{})
		process(t, task, "a", "b")
		beforeCommit(t, task)
		expectOutputs(t, task, "dead=a", "dead=b")
	}
	inBubble(t, func(t *testing.T) {
		p := twoWays(&late{}, "after a", "past a")
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		feed(c, 0, "a")
		var stats pipeline.Stats
		if err := c.Run(t.Context(), p, pipelinetest.Engine(pipeline.Observe(&stats))); err != nil {
			t.Fatal(err)
		}
		if n := stats.Snapshot().DeadLetters; n != 1 {
			t.Errorf("%d dead letters are counted", n)
		}
	})
}

// A middleware that runs a chain again has the record held again.
func TestHeldRecordIsRunAgain(t *testing.T) {
	twice := func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if err := next(ctx, r); err != nil {
				return err
			}
			return next(ctx, r)
		}
	}
	p := build((&late{window: 2}).stage, pipeline.Use(twice))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a", "b")
	beforeCommit(t, task)
	expectOutputs(t, task, "out=a", "out=b")
}

// A group that is refused is refused in all of its members, at their own places.
func TestGroupFails(t *testing.T) {
	l := &late{window: 3, grouped: true}
	task := compileTask(t, twoWays(l, "after a+b+c", "past e"), pipeline.TaskConfig{})
	process(t, task, "a", "b")
	expectOutputs(t, task)
	process(t, task, "c", "d", "e")
	expectOutputs(t, task, "dead=a", "dead=b", "dead=c")
	beforeCommit(t, task)
	expectOutputs(t, task, "dead=a", "dead=b", "dead=c", "direct=d", "late=d", "dead=e")
}

func TestHeldBeyondACommit(t *testing.T) {
	task := compileTask(t, twoWays(&late{window: 5, forgets: true}), pipeline.TaskConfig{})
	process(t, task, "a")
	err := task.BeforeCommit(t.Context())
	if !errors.Is(err, pipeline.ErrHeld) || !pipeline.IsFatal(err) {
		t.Errorf("got %v", err)
	}
}

func TestAbortedIsHeldNoMore(t *testing.T) {
	l := &late{window: 5}
	task := compileTask(t, twoWays(l), pipeline.TaskConfig{})
	process(t, task, "a", "b")
	task.Aborted()
	process(t, task, "a")
	beforeCommit(t, task)
	expectOutputs(t, task, "direct=a", "late=a")
}

// Through all that may go wrong, held records come out once, and in order.
func TestEveryStepWithHeldRecords(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return twoWays(&late{window: 4}, "after v3", "past v7") },
		Feed: func(c *pipelinetest.Cluster) {
			feed(c, 0, numbered("v", 12)...)
			feed(c, 1, numbered("w", 12)...)
		},
	})
}

// The pipeline ends with a record that it may not go on without: what comes after it is
// finished by then, and its position must not be committed. Nor may a middleware take
// the error for that of its own record, and try that again.
func TestHeldRecordEndsThePipeline(t *testing.T) {
	for name, opts := range map[string][]pipeline.Option{
		"plain":           nil,
		"with middleware": {pipeline.Use(again)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(1, func(s stream) stream {
					after := (&late{window: 3}).stage(s)
					return stages.Check(after, "after", func(v string) error {
						if v == "v3" {
							return errOops
						}
						return nil
					}, pipeline.OnError(pipeline.Fail))
				}, opts...)
				feed(c, 0, numbered("v", 12)...)
				if err := c.Run(t.Context(), p); !errors.Is(err, errOops) || errors.Is(err, pipeline.ErrHeld) || strings.Count(err.Error(), "oops") != 1 {
					t.Errorf("got %v", err)
				}
				if at := position(c, 0); at > 3 {
					t.Errorf("position %d is committed, and v3 has gone nowhere", at)
				}
			})
		})
	}
}

// again runs a chain that has failed once more.
func again(next pipeline.Handler) pipeline.Handler {
	return func(ctx context.Context, r *pipeline.Raw) error {
		if err := next(ctx, r); err != nil {
			return next(ctx, r)
		}
		return nil
	}
}

// A stop ends the wait of a held record to be tried again, and leaves it for the next run.
func TestStopWhileAHeldRecordWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, func(s stream) stream {
			after := (&late{window: 3}).stage(s)
			return stages.Check(after, "after", func(v string) error {
				if v == "v3" {
					return pipeline.Retriable(errOops)
				}
				return nil
			})
		})
		feed(c, 0, numbered("v", 12)...)
		w := c.Start(t.Context(), p)
		settle(time.Minute)
		began := time.Now()
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		if at := position(c, 0); at > 3 {
			t.Errorf("position %d is committed, and v3 has gone nowhere", at)
		}
	})
}

// After such a record a task commits nothing, until it is told to begin again.
func TestTaskAfterAHeldRecordHasFailed(t *testing.T) {
	l := &late{window: 1}
	bad := true
	p := build(func(s stream) stream {
		return stages.Check(l.stage(s), "after", func(v string) error {
			if v == "a" && bad {
				return errOops
			}
			return nil
		})
	})
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	if err := task.Process(t.Context(), rawRecord("b")); !errors.Is(err, errOops) {
		t.Errorf("got %v", err)
	}
	if err := task.BeforeCommit(t.Context()); !errors.Is(err, errOops) {
		t.Errorf("got %v", err)
	}
	bad = false
	task.Aborted()
	process(t, task, "a", "b")
	beforeCommit(t, task)
	expectOutputs(t, task, "out=a", "out=b")
}
