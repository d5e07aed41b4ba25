package stages_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

type (
	stream = pipeline.Stream[string]
	record = pipeline.Record[string]
)

func long(v string) bool { return len(v) > 1 }

// longOrErr is long for the variants that may fail.
func longOrErr(v string) (bool, error) {
	if v == "bad" {
		return true, errOops
	}
	return long(v), nil
}

func TestFilter(t *testing.T) {
	for name, build := range map[string]func(stream) stream{
		"Filter": func(s stream) stream { return stages.Filter(s, "long", long) },
		"FilterCtx": func(s stream) stream {
			return stages.FilterCtx(s, "long", func(_ context.Context, v string) (bool, error) { return longOrErr(v) })
		},
		"FilterRecord": func(s stream) stream {
			return stages.FilterRecord(s, "long", func(_ context.Context, r *record) (bool, error) { return longOrErr(r.Value) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			to(build(s))
			expect(t, feed(t, p, "a", "bb", "c", "dd"), "out=bb", "out=dd")
			if name == "Filter" {
				return
			}
			if se := stageError(t, p, "bad"); se.Stage != "long" || !errors.Is(se, errOops) {
				t.Errorf("got %v, want the error of stage long", se)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	check := func(v string) error {
		_, err := longOrErr(v)
		return err
	}
	for name, build := range map[string]func(stream) stream{
		"Check": func(s stream) stream { return stages.Check(s, "good", check) },
		"CheckCtx": func(s stream) stream {
			return stages.CheckCtx(s, "good", func(_ context.Context, v string) error { return check(v) })
		},
		"CheckRecord": func(s stream) stream {
			return stages.CheckRecord(s, "good", func(_ context.Context, r *record) error { return check(r.Value) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs(pipeline.DeadLetter("dlq"))
			to(build(s))
			expect(t, feed(t, p, "a", "bad", "b"), "out=a", "dlq=bad", "out=b")
		})
	}
}

func TestPeek(t *testing.T) {
	var seen []string
	see := func(v string) { seen = append(seen, v) }
	for name, build := range map[string]func(stream) stream{
		"Peek":    func(s stream) stream { return stages.Peek(s, "see", see) },
		"PeekCtx": func(s stream) stream { return stages.PeekCtx(s, "see", func(_ context.Context, v string) { see(v) }) },
		"PeekRecord": func(s stream) stream {
			return stages.PeekRecord(s, "see", func(_ context.Context, r *record) { see(r.Value) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			seen = nil
			p, s := strs()
			to(build(s))
			expect(t, feed(t, p, "a", "b"), "out=a", "out=b")
			if !slices.Equal(seen, []string{"a", "b"}) {
				t.Errorf("saw %q", seen)
			}
		})
	}
}

func words(v string) ([]string, error) {
	if v == "bad" {
		return []string{"half"}, errOops
	}
	return strings.Fields(v), nil
}

func TestFlatMap(t *testing.T) {
	for name, build := range map[string]func(stream) stream{
		"FlatMap": func(s stream) stream { return stages.FlatMap(s, "words", words) },
		"FlatMapCtx": func(s stream) stream {
			return stages.FlatMapCtx(s, "words", func(_ context.Context, v string) ([]string, error) { return words(v) })
		},
		"FlatMapRecord": func(s stream) stream {
			return stages.FlatMapRecord(s, "words", func(_ context.Context, r *record) ([]record, error) {
				ws, err := words(r.Value)
				var out []record
				for _, w := range ws {
					o := pipeline.With(r, w)
					o.Origin = pipeline.Origin{} // the stage puts it back
					out = append(out, o)
				}
				return out, err
			})
		},
		"FlatMapEmit": func(s stream) stream {
			return stages.FlatMapEmit(s, "words", func(v string, emit func(string)) error {
				ws, err := words(v)
				for _, w := range ws {
					emit(w)
				}
				return err
			})
		},
		"FlatMapEmitCtx": func(s stream) stream {
			return stages.FlatMapEmitCtx(s, "words", func(_ context.Context, v string, emit func(string)) error {
				ws, err := words(v)
				for _, w := range ws {
					emit(w)
				}
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs(pipeline.DeadLetter("dlq"))
			to(build(s))
			task := compile(t, p, "in")
			for _, v := range []string{"a b", "", "bad", "c"} {
				if err := task.Process(t.Context(), raw(v)); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, texts(task), "out=a", "out=b", "dlq=bad", "out=c")
			expectHead(t, task.Outputs()[1])
		})
	}
}

func TestFlatMapLeavesNothingOfARecordThatFailsDownstream(t *testing.T) {
	p, s := strs(pipeline.DeadLetter("dlq"))
	to(stages.Map(stages.FlatMap(s, "words", words), "upper", func(v string) (string, error) {
		if v == "x" {
			return "", errOops
		}
		return v, nil
	}))
	expect(t, feed(t, p, "a x b", "c"), "dlq=a x b", "out=c")
}

func TestEmitAfterTheFunctionHasReturned(t *testing.T) {
	var kept func(string)
	p, s := strs()
	to(stages.FlatMapEmit(s, "words", func(v string, emit func(string)) error {
		emit(v)
		kept = emit
		return nil
	}))
	expect(t, feed(t, p, "a"), "out=a")
	defer func() {
		if recover() == nil {
			t.Error("emit after the return did not panic; the value would go out with another record")
		}
	}()
	kept("late")
}

func TestEmitLetsGoOfHugeRecords(t *testing.T) {
	p, s := strs()
	to(stages.FlatMapEmit(s, "many", func(v string, emit func(string)) error {
		for range len(v) {
			emit("x")
		}
		return nil
	}))
	if got := feed(t, p, strings.Repeat("a", 5000), "bb"); len(got) != 5002 {
		t.Errorf("%d outputs, want 5002", len(got))
	}
}

func TestSplit(t *testing.T) {
	for name, build := range map[string]func(stream) (stream, stream){
		"Split": func(s stream) (stream, stream) { return stages.Split(s, "long", long) },
		"SplitCtx": func(s stream) (stream, stream) {
			return stages.SplitCtx(s, "long", func(_ context.Context, v string) (bool, error) { return longOrErr(v) })
		},
		"SplitRecord": func(s stream) (stream, stream) {
			return stages.SplitRecord(s, "long", func(_ context.Context, r *record) (bool, error) { return longOrErr(r.Value) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			yes, no := build(s)
			pipeline.To(yes, "yes", serde.String())
			pipeline.To(no, "no", serde.String())
			expect(t, feed(t, p, "a", "bb", "c"), "no=a", "yes=bb", "no=c")
			if name == "Split" {
				return
			}
			if se := stageError(t, p, "bad"); se.Stage != "long" {
				t.Errorf("got %v, want the error of stage long", se)
			}
		})
	}
}

func TestBranch(t *testing.T) {
	number := func(v string) int { return len(v) - 1 }
	for name, build := range map[string]func(stream) []stream{
		"Branch": func(s stream) []stream { return stages.Branch(s, "by length", 3, number) },
		"BranchCtx": func(s stream) []stream {
			return stages.BranchCtx(s, "by length", 3, func(_ context.Context, v string) (int, error) { return number(v), nil })
		},
		"BranchRecord": func(s stream) []stream {
			return stages.BranchRecord(s, "by length", 3, func(_ context.Context, r *record) (int, error) { return number(r.Value), nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs(pipeline.DeadLetter("dead"))
			for i, branch := range build(s) {
				pipeline.To(branch, fmt.Sprint("out", i), serde.String())
			}
			expect(t, feed(t, p, "bb", "a", "ccc", "dddd", "", "e"), "out1=bb", "out0=a", "out2=ccc", "dead=dddd", "dead=", "out0=e")
		})
	}
	p, s := strs()
	if b := stages.Branch(s, "none", -1, number); len(b) != 0 || p.Validate() == nil {
		t.Errorf("%d branches are valid", len(b))
	}
	p, s = strs()
	to(stages.Branch(s, "by length", 2, number)[1])
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "branch 1 of 2") {
		t.Errorf("a branch without a consumer: %v", err)
	}
	if b := stages.Branch(stream{}, "nowhere", 2, number); len(b) != 2 {
		t.Errorf("%d branches of a stream that is nowhere", len(b))
	}
}

func TestRoute(t *testing.T) {
	topics := []string{"short", "long"}
	topicOf := func(v string) string {
		switch {
		case v == "bad":
			return "elsewhere"
		case long(v):
			return "long"
		default:
			return "short"
		}
	}
	for name, build := range map[string]func(stream){
		"Route": func(s stream) { stages.Route(s, "by-length", topicOf, topics, serde.String()) },
		"RouteRecord": func(s stream) {
			stages.RouteRecord(s, "by-length", func(r *record) string { return topicOf(r.Value) }, topics, serde.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			build(s)
			expect(t, feed(t, p, "a", "bb"), "short=a", "long=bb")
			se := stageError(t, p, "bad")
			if se.Stage != "by-length" || !errors.Is(se, pipeline.ErrUnknownTopic) {
				t.Errorf("got %v, want ErrUnknownTopic of stage by-length", se)
			}
			if got := p.Outputs(); !slices.Equal(got, []string{"long", "short"}) {
				t.Errorf("the pipeline's outputs are %q", got)
			}
		})
	}
}

// counter is a stage with state, to see how many instances there are.
func counter(s stream, name string) stream {
	return pipeline.Apply(s, "count", name, func(_ *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		n := 0
		out := new(record)
		return func(ctx context.Context, r *record) error {
			n++
			*out = pipeline.With(r, fmt.Sprintf("%s#%d", r.Value, n))
			return next(ctx, out)
		}
	})
}

func TestMergeIsOneInstance(t *testing.T) {
	p, s := strs()
	yes, no := stages.Split(s, "long", long)
	loud := stages.Map(yes, "upper", upper)
	to(counter(stages.Merge("all", loud, no), "count"))
	expect(t, feed(t, p, "a", "bb", "c"), "out=a#1", "out=BB#2", "out=c#3")

	if two := feed(t, p, "a"); !slices.Equal(two, []string{"out=a#1"}) {
		t.Errorf("another task shares the stage's state: %q", two)
	}
}

func TestMergeOfBothBranchesOfAFanOut(t *testing.T) {
	p, s := strs()
	to(stages.Merge("all", s, stages.Map(s, "upper", upper))) // Map is attached before Merge
	expect(t, feed(t, p, "a", "b"), "out=A", "out=a", "out=B", "out=b")
}

func TestKeyBy(t *testing.T) {
	for name, build := range map[string]func(stream) stream{
		"KeyBy": func(s stream) stream {
			return stages.KeyBy(s, "first", func(v string) string { return v[:1] }, serde.String())
		},
		"KeyByCtx": func(s stream) stream {
			return stages.KeyByCtx(s, "first", func(_ context.Context, v string) (string, error) { return v[:1], nil }, serde.String())
		},
		"KeyByRecord": func(s stream) stream {
			return stages.KeyByRecord(s, "first", func(_ context.Context, r *record) (string, error) { return r.Value[:1], nil }, serde.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			to(build(s))
			task := compile(t, p, "in")
			for _, v := range []string{"abc", "xyz"} {
				if err := task.Process(t.Context(), raw(v)); err != nil {
					t.Fatal(err)
				}
			}
			a, x := task.Outputs()[0], task.Outputs()[1]
			if string(a.Key) != "a" || string(x.Key) != "x" {
				t.Errorf("keys %q and %q, want a and x", a.Key, x.Key)
			}
			a.Key = raw("").Key
			expectHead(t, a)
		})
	}
}

// keySerde writes keys in different ways, and sees its slot.
type keySerde struct {
	serde.Serde[string]
	slot *pipeline.Slot
}

func (k keySerde) Append(_ context.Context, dst []byte, at pipeline.Slot, v string) ([]byte, error) {
	if k.slot != nil {
		*k.slot = at
		*at.Headers = at.Headers.Add("schema", []byte(v))
	}
	switch v {
	case "null":
		return nil, nil
	case "foreign":
		return []byte("foreign"), nil
	case "part":
		return append(append(dst, "scratch"...), v...)[len("scratch"):], nil
	case "bad":
		return nil, errOops
	}
	return append(dst, v...), nil
}

func TestKeyByGivesTheSerdeItsSlot(t *testing.T) {
	var slot pipeline.Slot
	p, s := strs()
	to(stages.KeyBy(s, "same", func(v string) string { return v }, pipeline.Serde[string](keySerde{slot: &slot})))
	task := compile(t, p, "in")
	in := raw("a")
	if err := task.Process(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if slot.Topic != "in" || !slot.Key {
		t.Errorf("slot %+v, want the key of topic in", slot)
	}
	if v, _ := task.Outputs()[0].Headers.Get("schema"); string(v) != "a" {
		t.Errorf("headers %v, want the serde's", task.Outputs()[0].Headers)
	}
	if len(in.Headers) != 1 {
		t.Errorf("the input's headers were changed: %v", in.Headers)
	}
	if se := stageError(t, p, "bad"); se.Stage != "same" || !errors.Is(se, errOops) {
		t.Errorf("got %v, want the serde's error in stage same", se)
	}
}

func TestKeysNeverOverwriteEachOther(t *testing.T) {
	p, s := strs()
	to(stages.KeyBy(s, "same", func(v string) string { return v }, pipeline.Serde[string](keySerde{})))
	task := compile(t, p, "in")
	var want []string
	for i := range 3000 {
		v := fmt.Sprintf("%d-%s", i, strings.Repeat("k", i%400))
		switch i % 7 {
		case 3:
			v = "foreign"
		case 4:
			v = "part"
		case 5:
			v = "null"
		case 6:
			v = ""
		}
		want = append(want, v)
		if err := task.Process(t.Context(), raw(v)); err != nil {
			t.Fatal(err)
		}
	}
	for i, o := range task.Outputs() {
		switch {
		case want[i] == "null":
			if o.Key != nil {
				t.Fatalf("record %d: key %q, want null", i, o.Key)
			}
		case string(o.Key) != want[i] || o.Key == nil:
			t.Fatalf("record %d: key %q, want %q", i, o.Key, want[i])
		case cap(o.Key) != len(o.Key) && want[i] != "foreign":
			t.Fatalf("record %d: appending to its key would write into another", i)
		}
	}
}
