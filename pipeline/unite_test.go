package pipeline_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// lines is a stage whose state is one text for each first letter of values: what fold has made
// of all of them, which it puts out. By default they stand in a row.
type lines struct {
	name string
	fold func(line, v string) string

	kept map[string]string
	open map[string][]*line
}

// line is a change: what a line has become.
type line struct {
	of   *lines
	key  string
	text string
	by   pipeline.Origin
}

func (l *line) Settle(kept bool) {
	open := l.of.open[l.key]
	l.of.open[l.key] = slices.DeleteFunc(slices.Clone(open), func(o *line) bool { return o == l })
	if kept {
		l.of.kept[l.key] = l.text
	}
}

func (s *lines) stage(in stream) stream {
	s.kept, s.open = map[string]string{}, map[string][]*line{}
	if s.fold == nil {
		s.fold = func(line, v string) string { return strings.TrimSpace(line + " " + v) }
	}
	return pipeline.Apply(in, "lines", cmp.Or(s.name, "lines"), func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			now := &line{of: s, key: r.Value[:1], by: sc.Current()}
			now.text = s.kept[now.key]
			if open := s.open[now.key]; len(open) > 0 {
				last := open[len(open)-1]
				if err := sc.Unite(last.by); err != nil {
					return err
				}
				now.text = last.text
			}
			now.text = s.fold(now.text, r.Value)
			s.open[now.key] = append(s.open[now.key], now)
			sc.Changed(now)
			out := *r
			out.Value = now.text
			return next(ctx, &out)
		}
	})
}

// tallies is lines whose texts are the letter and a number.
func tallies() *lines {
	return &lines{name: "counts", fold: func(line, v string) string {
		n := 0
		if line != "" {
			n, _ = strconv.Atoi(line[1:])
		}
		return fmt.Sprint(v[:1], n+1)
	}}
}

// Whatever holds what was built on others, between two stages that build and behind them, for
// one key before them, and whichever fails, in a call of its own, a later one, or in another
// branch: a record is either a dead letter or in what is put out last, in the order in which
// the records came.
func TestUnite(t *testing.T) {
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		fails := func(in stream, name string) stream {
			return stages.Check(in, name, func(string) error {
				if rnd.IntN(9) == 0 {
					return errOops
				}
				return nil
			})
		}
		holds := func(in stream, name string) stream { return (&late{window: rnd.IntN(6)}).named(in, name) }

		p := pipeline.New("test", pipeline.DeadLetter("dead"))
		in := pipeline.From(p, "in", serde.String())
		parts := stages.FlatMap(in, "parts", func(v string) ([]string, error) { return strings.Fields(v), nil })
		b, others := stages.Split(parts, "b or others", func(v string) bool { return v[0] == 'b' })
		rows, numbers := &lines{}, tallies()
		behind := rows.stage(stages.Merge("all", others, holds(b, "late b")))
		if rnd.IntN(2) == 0 {
			behind = fails(holds(behind, "late"), "check")
		}
		pipeline.To(behind, "rows", serde.String())
		pipeline.To(fails(holds(numbers.stage(behind), "late again"), "check again"), "counts", serde.String())
		pipeline.To(fails(in, "beside"), "beside", serde.String())
		task := compileTask(t, p, pipeline.TaskConfig{})
		var fed []string
		for i := range 30 {
			v := fmt.Sprintf("%c%d", 'a'+rnd.IntN(3), i)
			if rnd.IntN(3) == 0 {
				v += fmt.Sprintf(" %c%d", 'a'+rnd.IntN(3), i)
			}
			fed = append(fed, v)
			processAt(t, task, int64(i), v)
			if rnd.IntN(8) == 0 {
				commit(t, task)
			}
		}
		commit(t, task)

		dead, row, count := map[string]bool{}, map[string]string{}, map[string]string{}
		for _, o := range task.Outputs() {
			switch v := string(o.Value); o.Topic {
			case "dead":
				if dead[v] {
					t.Errorf("seed %d: %s is a dead letter twice", seed, v)
				}
				dead[v] = true
			case "rows":
				row[v[:1]] = v
			case "counts":
				count[v[:1]] = v
			}
		}
		want := map[string][]string{}
		for _, v := range fed {
			for _, part := range strings.Fields(v) {
				if !dead[v] {
					want[part[:1]] = append(want[part[:1]], part)
				}
			}
		}
		for key, all := range want {
			if w := strings.Join(all, " "); row[key] != w || rows.kept[key] != w || len(rows.open[key]) > 0 {
				t.Fatalf("seed %d: want %s\nout %s\nkept %s", seed, w, row[key], rows.kept[key])
			}
			if w := fmt.Sprint(key, len(all)); count[key] != w || numbers.kept[key] != w || len(numbers.open[key]) > 0 {
				t.Fatalf("seed %d: want %s, out %s, kept %s", seed, w, count[key], numbers.kept[key])
			}
		}
	}
}

// A record that is kept for sure, and waits for one before it, is not drawn in by one that
// fails.
func TestUniteWithWhatIsKept(t *testing.T) {
	var s lines
	p := build(func(in stream) stream {
		slow, fast := stages.Split(s.stage(in), "slow or fast", func(v string) bool { return v != "a1" })
		return stages.Merge("both", fast, refuses((&late{window: 9}).stage(slow), "check", "a1 a2"))
	}, pipeline.DeadLetter("dead"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "b", "a1", "a2", "c")
	commit(t, task)
	expectOutputs(t, task, "out=b", "out=a1", "dead=a2", "out=c")
}

// A record that comes again does not hold those up that it has built on.
func TestUniteAndComeAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		broken := true
		build := func() *pipeline.Pipeline {
			p := pipeline.New("test")
			in := pipeline.From(p, "in", serde.String())
			pipeline.To((&late{window: 9}).stage(new(lines).stage(in)), "late", serde.String())
			pipeline.To(stages.Check(in, "past", func(v string) error {
				if broken && v == "a3" {
					return pipeline.Retriable(errOops)
				}
				return nil
			}), "direct", serde.String())
			return p
		}
		p := build()
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1), BatchRecords: 10})
		feed(c, 0, "a1", "a2", "a3", "a4")
		w := c.Start(t.Context(), p, every(time.Minute, 0, 0))
		settle(time.Second)
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		broken = false
		if err := c.Run(t.Context(), build()); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "direct", "a1", "a2", "a3", "a4")
		expectTexts(t, c, "late", "a1", "a1 a2", "a3", "a3 a4") // this state does not outlive a run
	})
}

// A later record that has overtaken cannot be built on.
func TestUniteWithOneThatOvertook(t *testing.T) {
	var s lines
	p := build(func(in stream) stream {
		slow, fast := stages.Split(in, "slow or fast", func(v string) bool { return strings.HasSuffix(v, "slow") })
		return s.stage(stages.Merge("both", (&late{window: 5}).stage(slow), fast))
	}, pipeline.DeadLetter("dead"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	processAt(t, task, 0, "a1slow", "b2", "a3")
	if err := task.BeforeCommit(t.Context()); !errors.Is(err, pipeline.ErrOvertaken) || !pipeline.IsFatal(err) || !strings.Contains(err.Error(), "in[3]@2") {
		t.Errorf("got %v", err)
	}
}

func TestUniteWithNobody(t *testing.T) {
	p := build(func(s stream) stream {
		return pipeline.Apply(s, "unites", "unites", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				other := sc.Current()
				other.Offset--
				return sc.Unite(other)
			}
		})
	}, pipeline.DeadLetter("dead"))
	err := compileTask(t, p, pipeline.TaskConfig{}).Process(t.Context(), at(7, "v"))
	if !errors.Is(err, pipeline.ErrHeld) || !pipeline.IsFatal(err) {
		t.Errorf("got %v", err)
	}
}
