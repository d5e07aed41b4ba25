package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// named is a late stage with another name than late.
func (l *late) named(s stream, name string) stream {
	l.name = name
	return l.stage(s)
}

func refuses(s stream, name string, bad ...string) stream {
	return stages.Check(s, name, func(v string) error {
		for _, b := range bad {
			if v == b {
				return errOops
			}
		}
		return nil
	})
}

// twice is a pipeline of two late stages: the second has what the first puts out, and
// the record itself if it is diamond.
func twice(diamond bool, bad ...string) *pipeline.Pipeline {
	p := pipeline.New("test", pipeline.DeadLetter("dead"))
	in := pipeline.From(p, "in", serde.String())
	groups := (&late{window: 2, grouped: true}).named(in, "groups")
	if diamond {
		groups = stages.Merge("both", groups, in)
	}
	again := (&late{window: 3, grouped: true}).named(groups, "groups again")
	pipeline.To(refuses(again, "after", bad...), "late", serde.String())
	pipeline.To(in, "direct", serde.String())
	return p
}

// What a group has put out is held further down, and fails there: it is that of each
// member, and nothing of them has left until then.
func TestGroupFailsLater(t *testing.T) {
	task := compileTask(t, twice(false, "a+b+c+d+e+f"), pipeline.TaskConfig{})
	process(t, task, "a", "b", "c", "d", "e")
	expectOutputs(t, task)
	process(t, task, "f", "g")
	expectOutputs(t, task)
	beforeCommit(t, task)
	expectOutputs(t, task, "dead=a", "dead=b", "dead=c", "dead=d", "dead=e", "dead=f", "direct=g", "late=g")
}

func TestGroupIsWholeWithWhatIsHeldOfIt(t *testing.T) {
	task := compileTask(t, twice(false), pipeline.TaskConfig{})
	process(t, task, "a", "b", "c")
	expectOutputs(t, task)
	beforeCommit(t, task)
	expectOutputs(t, task, "direct=a", "direct=b", "direct=c", "late=a+b+c")
}

// A part of a group fails while the rest of it is on its way: so does all of it, once.
func TestGroupFailsOnItsWay(t *testing.T) {
	for _, rest := range []string{"", "a+b"} {
		p := pipeline.New("test", pipeline.DeadLetter("dead"))
		groups := (&late{window: 2, grouped: true}).named(pipeline.From(p, "in", serde.String()), "groups")
		resumed := (&late{window: 0}).named(groups, "at once")
		pipeline.To(refuses(resumed, "refuses", "a+b"), "resumed", serde.String())
		pipeline.To(groups, "direct", serde.String())
		pipeline.To(refuses(groups, "rest", rest), "rest", serde.String())
		task := compileTask(t, p, pipeline.TaskConfig{})
		process(t, task, "a", "b", "c")
		beforeCommit(t, task)
		expectOutputs(t, task, "dead=a", "dead=b", "resumed=c", "direct=c", "rest=c")
	}
}

// Several parts of a record are one, and its dead letter is one.
func TestGroupOfParts(t *testing.T) {
	for bad, want := range map[string][]string{
		"":    {"late=a+a", "late=b+b"},
		"a+a": {"dead=a a", "late=b+b"},
		"b+b": {"late=a+a", "dead=b b"},
	} {
		p := pipeline.New("test", pipeline.DeadLetter("dead"))
		in := pipeline.From(p, "in", serde.String())
		words := stages.FlatMap(in, "words", func(v string) ([]string, error) { return strings.Fields(v), nil })
		pipeline.To(refuses((&late{window: 2, grouped: true}).stage(words), "after", bad), "late", serde.String())
		task := compileTask(t, p, pipeline.TaskConfig{})
		process(t, task, "a a", "b b")
		beforeCommit(t, task)
		expectOutputs(t, task, want...)
	}
}

// A group with the record that is being processed would be lost with it.
func TestGroupWithTheCurrentRecord(t *testing.T) {
	p := build(func(s stream) stream {
		return pipeline.Apply(s, "early", "early", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			var all []*pipeline.Held
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				h := sc.Hold()
				if h.Through() {
					t.Error("a record in the midst of its chain is through")
				}
				if all = append(all, h); len(all) < 2 {
					return nil
				}
				return sc.ResumeAll(ctx, all, func(ctx context.Context) error { return next(ctx, r) })
			}
		})
	})
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	if err := task.Process(t.Context(), rawRecord("b")); !errors.Is(err, pipeline.ErrHeld) || !pipeline.IsFatal(err) {
		t.Errorf("got %v", err)
	}
}

// A middleware that makes light of an error does not have a torn group committed.
func TestTornGroupIsNotCommitted(t *testing.T) {
	light := func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			_ = next(ctx, r)
			return nil
		}
	}
	p := build(func(s stream) stream {
		return refuses((&late{window: 2, grouped: true}).stage(s), "after", "a+b")
	}, pipeline.Use(light))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a", "b")
	if err := task.Process(t.Context(), rawRecord("c")); !errors.Is(err, errOops) {
		t.Errorf("the record behind a group that stops the pipeline: %v", err)
	}
	if err := task.Process(t.Context(), rawRecord("d")); !errors.Is(err, errOops) {
		t.Errorf("the next: %v", err)
	}
	if err := task.BeforeCommit(t.Context()); !errors.Is(err, errOops) {
		t.Errorf("a commit: %v", err)
	}
	expectOutputs(t, task)
	task.Aborted()
	process(t, task, "c")
	beforeCommit(t, task)
	expectOutputs(t, task, "out=c")
}

// Through all that may go wrong, groups of groups come out once.
func TestEveryStepWithGroups(t *testing.T) {
	for name, diamond := range map[string]bool{"in line": false, "diamond": true} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.EveryStep(t, pipelinetest.Scenario{
				Build: func() *pipeline.Pipeline {
					p := pipeline.New("test", pipeline.DeadLetter("dead"))
					in := pipeline.From(p, "in", serde.String())
					one := (&late{window: 1, grouped: true}).named(in, "groups") // where a transaction ends is no matter
					if diamond {
						one = stages.Merge("both", one, in)
					}
					pipeline.To(refuses((&late{window: 1, grouped: true}).named(one, "again"), "after", "v5"), "late", serde.String())
					pipeline.To(in, "direct", serde.String())
					return p
				},
				Feed: func(c *pipelinetest.Cluster) { feed(c, 0, numbered("v", 12)...) },
			})
		})
	}
}
