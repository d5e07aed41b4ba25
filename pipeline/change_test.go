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

// marks is a stage whose state is the values that have passed: it drops those that it
// knows. It logs what becomes of its changes.
type marks struct {
	at   map[string]pipeline.Origin
	kept map[string]bool
	log  []string
}

type mark struct {
	of    *marks
	value string
}

func (m mark) Settle(kept bool) {
	if kept {
		m.of.log = append(m.of.log, m.value+" kept")
		m.of.kept[m.value] = true
		return
	}
	m.of.log = append(m.of.log, m.value+" undone")
	delete(m.of.at, m.value)
}

func (m *marks) stage(s stream) stream {
	m.at, m.kept = map[string]pipeline.Origin{}, map[string]bool{}
	return pipeline.Apply(s, "marks", "marks", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var take func(context.Context, *pipeline.Record[string]) error
		take = func(ctx context.Context, r *pipeline.Record[string]) error {
			if first, ok := m.at[r.Value]; ok {
				if m.kept[r.Value] {
					return nil
				}
				again := *r
				return sc.Follow(first, func(ctx context.Context) error { return take(ctx, &again) })
			}
			m.at[r.Value] = sc.Current()
			sc.Changed(mark{m, r.Value})
			return next(ctx, r)
		}
		return take
	})
}

func (m *marks) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(m.log, want) {
		t.Errorf("changes %q, want %q", m.log, want)
	}
	m.log = nil
}

// at is an input record of topic in at an offset.
func at(offset int64, value string) *pipeline.Raw {
	r := rawRecord(value)
	r.Origin.Offset = offset
	return r
}

func processAt(t *testing.T, task *pipeline.Task, from int64, values ...string) {
	t.Helper()
	for i, v := range values {
		if err := task.Process(t.Context(), at(from+int64(i), v)); err != nil {
			t.Fatalf("processing %q: %v", v, err)
		}
	}
}

func commit(t *testing.T, task *pipeline.Task) {
	t.Helper()
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestChangesEndWithTheRecord(t *testing.T) {
	var m marks
	p := pipeline.New("test", pipeline.DeadLetter("dead"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(m.stage(in), "out", serde.String())
	pipeline.To(stages.Check(in, "other", func(v string) error {
		switch v {
		case "bad":
			return errOops
		case "panics":
			panic(v)
		}
		return nil
	}), "other", serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "good", "bad", "panics")
	m.expect(t, "good kept", "bad undone", "panics undone")
}

// A middleware that runs the chain again finds the state as it was.
func TestChangesOfAChainThatIsRunAgain(t *testing.T) {
	var m marks
	tries := 0
	again := func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if err := next(ctx, r); err == nil {
				return err
			}
			return next(ctx, r)
		}
	}
	p := build(func(s stream) stream {
		return stages.Check(m.stage(s), "check", func(string) error {
			if tries++; tries == 1 {
				return errOops
			}
			return nil
		})
	}, pipeline.Use(again))
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "v")
	m.expect(t, "v undone", "v kept")
	expectOutputs(t, task, "out=v")
}

// What a stage behind holds is settled when that is done with it, and those in front.
func TestChangesOfHeldRecords(t *testing.T) {
	var m marks
	l := &late{window: 2}
	p := build(func(s stream) stream { return failing(errOops)(l.stage(m.stage(s))) }, pipeline.DeadLetter("dead"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "a", "bad", "c")
	m.expect(t, "a kept")
	commit(t, task)
	m.expect(t, "bad undone", "c kept")
	expectOutputs(t, task, "out=a", "dead=bad", "out=c")

	processAt(t, task, 3, "d", "e")
	task.Aborted()
	m.expect(t, "e undone", "d undone")
	processAt(t, task, 3, "d")
	commit(t, task)
	m.expect(t, "d kept")
}

// A record that follows another ends with it if that one is kept, and goes on in its own
// place if that one fails, whether that is told during a later record or before the commit.
func TestFollow(t *testing.T) {
	for _, window := range []int{1, 5} {
		for name, fails := range map[string]int{"the first is kept": 0, "the first fails": 1, "two fail": 2, "all fail": 3} {
			t.Run(name, func(t *testing.T) {
				var m marks
				failed := 0
				l := &late{window: window}
				p := build(func(s stream) stream {
					return stages.Check(l.stage(m.stage(s)), "check", func(v string) error {
						if v == "x" && failed < fails {
							failed++
							return errOops
						}
						return nil
					})
				}, pipeline.DeadLetter("dead"))
				task := compileTask(t, p, pipeline.TaskConfig{})
				processAt(t, task, 0, "a", "x", "x", "b", "x", "c")
				commit(t, task)
				expectOutputs(t, task, [][]string{
					{"out=a", "out=x", "out=b", "out=c"},
					{"out=a", "dead=x", "out=x", "out=b", "out=c"},
					{"out=a", "dead=x", "dead=x", "out=b", "out=x", "out=c"},
					{"out=a", "dead=x", "dead=x", "out=b", "dead=x", "out=c"},
				}[fails]...)
				if _, known := m.at["x"]; known != (fails < 3) {
					t.Errorf("x is known: %v", known)
				}
			})
		}
	}
}

// A record that follows fails by itself: it does not go on, and the first one is not its concern.
func TestAFollowerFails(t *testing.T) {
	var m marks
	l := &late{window: 5}
	p := pipeline.New("test", pipeline.DeadLetter("dead"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(failing(errOops)(l.stage(m.stage(in))), "out", serde.String())
	n := 0
	pipeline.To(stages.Check(in, "other", func(string) error {
		if n++; n == 2 {
			return errOops
		}
		return nil
	}), "other", serde.String())
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "bad", "bad", "good", "good")
	commit(t, task)
	expectOutputs(t, task, "dead=bad", "dead=bad", "other=good", "out=good", "other=good")
}

// Nothing is left of what follows when the transaction is aborted.
func TestFollowersAreReplayed(t *testing.T) {
	var m marks
	l := &late{window: 5}
	p := build(func(s stream) stream { return l.stage(m.stage(s)) })
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "x", "x")
	task.Aborted()
	commit(t, task)
	expectOutputs(t, task)
	processAt(t, task, 0, "x", "x")
	commit(t, task)
	expectOutputs(t, task, "out=x")
}

// A record that overtook the one that follows it shares its end, and so do those that are a
// group already.
func TestFollowWithinAGroup(t *testing.T) {
	for name, bad := range map[string]bool{"kept": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			var m marks
			p := build(func(s stream) stream {
				parts := stages.FlatMap(s, "parts", func(v string) ([]string, error) { return stringsOf(v), nil })
				together := stages.Batch(m.stage(parts), "together", stages.BatchConfig{}, func(vs []string) ([]string, error) {
					if bad {
						return nil, errOops
					}
					return vs, nil
				})
				return together
			}, pipeline.DeadLetter("dead"))
			task := compileTask(t, p, pipeline.TaskConfig{})
			processAt(t, task, 0, "ab", "ca", "da") // a of the others follows, and all become one batch
			commit(t, task)
			if bad {
				expectOutputs(t, task, "dead=ab", "dead=ca", "dead=da")
			} else {
				expectOutputs(t, task, "out=a", "out=b", "out=c", "out=d")
			}
		})
	}
}

func stringsOf(v string) (parts []string) {
	for _, r := range v {
		parts = append(parts, string(r))
	}
	return parts
}

func TestARecordThatOvertookIsFollowed(t *testing.T) {
	for name, bad := range map[string]bool{"kept": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			var m marks
			l := &late{window: 100}
			p := build(func(s stream) stream {
				// the groups come by their first key: that of records 0 and 2 before that of 1
				byKey := stages.BatchByKey(s, "by key", stages.BatchConfig{}, func(v string) string { return v[:1] }, func(k string, vs []string) ([]string, error) {
					return []string{"x"}, nil
				})
				return stages.Check(l.stage(m.stage(byKey)), "check", func(string) error {
					if bad {
						return errOops
					}
					return nil
				})
			}, pipeline.DeadLetter("dead"))
			task := compileTask(t, p, pipeline.TaskConfig{})
			processAt(t, task, 0, "k0", "l1", "k2")
			commit(t, task)
			if bad {
				expectOutputs(t, task, "dead=k0", "dead=l1", "dead=k2")
			} else {
				expectOutputs(t, task, "out=x")
			}
		})
	}
}

func TestFollowNobody(t *testing.T) {
	p := build(func(s stream) stream {
		return pipeline.Apply(s, "follows", "follows", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				first := sc.Current()
				first.Offset--
				return sc.Follow(first, func(context.Context) error { return nil })
			}
		})
	}, pipeline.DeadLetter("dead"))
	err := compileTask(t, p, pipeline.TaskConfig{}).Process(t.Context(), at(7, "v"))
	if !errors.Is(err, pipeline.ErrHeld) || !pipeline.IsFatal(err) {
		t.Errorf("got %v", err)
	}
}
