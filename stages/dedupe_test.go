package stages_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// idOf is the part of a value before the colon.
func idOf(v string) string {
	id, _, _ := strings.Cut(v, ":")
	return id
}

var seenIn = stages.DedupeConfig{Topic: "seen"}

// deduped is a pipeline of a Dedupe, and what stands behind it.
func deduped(cfg stages.DedupeConfig, behind func(pipeline.Stream[string]) pipeline.Stream[string], opts ...pipeline.Option) *pipeline.Pipeline {
	p, in := strs(opts...)
	s := stages.Dedupe(in, "dedupe", idOf, cfg)
	if behind != nil {
		s = behind(s)
	}
	to(s)
	return p
}

// event is an input record at an offset, some time after when.
func event(offset int64, after time.Duration, value string) *pipeline.Raw {
	r := raw(value)
	r.Origin.Offset, r.Timestamp = offset, when.Add(after)
	return r
}

// outsOf are the values in topic out, and the dead letters in brackets.
func outsOf(task *pipeline.Task) string {
	var got []string
	for _, o := range task.Outputs() {
		switch o.Topic {
		case "out":
			got = append(got, string(o.Value))
		case "dead":
			got = append(got, "["+string(o.Value)+"]")
		}
	}
	return strings.Join(got, " ")
}

func processed(t *testing.T, task *pipeline.Task, from int64, values ...string) string {
	t.Helper()
	for i, v := range values {
		if err := task.Process(t.Context(), event(from+int64(i), 0, v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return outsOf(task)
}

func TestDedupe(t *testing.T) {
	task := compile(t, deduped(seenIn, nil), "in")
	if got := processed(t, task, 0, "a:1", "b:1", "a:2", "c:1", "b:2", "a:3"); got != "a:1 b:1 c:1" {
		t.Errorf("got %q", got)
	}
	for _, o := range task.Outputs() {
		if o.Topic == "out" {
			if !o.Timestamp.Equal(when) || string(o.Key) != "key" || len(o.Headers) != 1 {
				t.Errorf("key, headers and time should pass: %+v", o)
			}
			continue
		}
		if len(o.Key) != 1 || len(o.Value) != 17 || o.Headers != nil || o.Partitioner.Partition("seen", nil, nil, 9) != 3 {
			t.Errorf("state %+v", o)
		}
	}
}

// The window is one of event time, whatever the order.
func TestDedupeWindow(t *testing.T) {
	cfg := seenIn
	cfg.Window = 10 * time.Second
	task := compile(t, deduped(cfg, nil), "in")
	for i, e := range []struct {
		after time.Duration
		value string
	}{{0, "a:1"}, {10 * time.Second, "a:2"}, {10*time.Second + time.Millisecond, "a:3"}, {time.Second, "a:4"}, {0, "a:5"}, {20 * time.Second, "a:6"}} {
		if err := task.Process(t.Context(), event(int64(i), e.after, e.value)); err != nil {
			t.Fatal(err)
		}
	}
	if got := outsOf(task); got != "a:1 a:3 a:5 a:6" {
		t.Errorf("got %q", got)
	}
}

// Seen is what was delivered: a copy of a record that failed gets its chance, wherever that
// one failed.
func TestDedupeOfFailures(t *testing.T) {
	refuse := func(name string) func(pipeline.Stream[string]) pipeline.Stream[string] {
		return func(s pipeline.Stream[string]) pipeline.Stream[string] {
			return stages.Check(s, name, func(v string) error {
				if strings.HasSuffix(v, ":bad") {
					return errOops
				}
				return nil
			})
		}
	}
	behind := deduped(seenIn, refuse("behind"), pipeline.DeadLetter("dead"))
	skipped := deduped(seenIn, refuse("behind"), pipeline.OnError(pipeline.Skip))
	beside, in := strs(pipeline.DeadLetter("dead"))
	to(stages.Dedupe(in, "dedupe", idOf, seenIn))
	pipeline.To(refuse("beside")(in), "beside", serde.String())
	for name, p := range map[string]*pipeline.Pipeline{"behind": behind, "beside": beside, "skipped": skipped} {
		task := compile(t, p, "in")
		want := "[a:bad] a:good [a:bad]"
		switch name {
		case "behind":
			want = "[a:bad] a:good"
		case "skipped":
			want = "a:good"
		}
		if got := processed(t, task, 0, "a:bad", "a:good", "a:again", "a:bad"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Of the parts of one record the first wins; if one fails, all do, and none was seen.
func TestDedupeOfParts(t *testing.T) {
	p, in := strs(pipeline.DeadLetter("dead"))
	parts := stages.FlatMap(in, "parts", func(v string) ([]string, error) { return strings.Fields(v), nil })
	to(stages.Check(stages.Dedupe(parts, "dedupe", idOf, seenIn), "check", func(v string) error {
		if v == "bad" {
			return errOops
		}
		return nil
	}))
	task := compile(t, p, "in")
	if got := processed(t, task, 0, "a:1 a:2 b:1", "c:1 b:2 bad", "c:2 b:3"); got != "a:1 b:1 [c:1 b:2 bad] c:2" {
		t.Errorf("got %q", got)
	}
}

// A copy that comes while the first is under way goes on if that one fails, in its own place.
func TestDedupeBeforeHeldRecords(t *testing.T) {
	for name, size := range map[string]int{"during another record": 2, "before the commit": 100} {
		t.Run(name, func(t *testing.T) {
			p := deduped(seenIn, func(s pipeline.Stream[string]) pipeline.Stream[string] {
				return stages.Batch(s, "batch", stages.BatchConfig{Size: size}, func(vs []string) ([]string, error) {
					if slices.Contains(vs, "a:bad") {
						return nil, errOops
					}
					return vs, nil
				})
			}, pipeline.DeadLetter("dead"))
			task := compile(t, p, "in")
			// With batches of 2, a:bad and b:1 fail when d:1 comes; of 100, all but the copies do.
			want := "[a:bad] [b:1] a:2 d:1 e:1"
			if size == 100 {
				want = "[a:bad] [b:1] a:2 [d:1] [e:1]"
			}
			if got := processed(t, task, 0, "a:bad", "b:1", "a:2", "a:3", "d:1", "e:1"); fields(got) != fields(want) {
				t.Errorf("got %q, want %q", got, want)
			}
			task.Clear()
			if got := processed(t, task, 6, "a:4", "b:2"); got != "b:2" {
				t.Errorf("then got %q", got)
			}
		})
	}
}

// fields sorts words: a batch's outputs stand together.
func fields(s string) string {
	all := strings.Fields(s)
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestDedupeWithoutID(t *testing.T) {
	p := deduped(seenIn, nil)
	if se := stageError(t, p, ":x"); se.Stage != "dedupe" || !strings.Contains(se.Error(), "empty id") {
		t.Errorf("got %v", se)
	}
	p, in := strs()
	to(stages.DedupeCtx(in, "dedupe", func(context.Context, string) (string, error) { return "x", errOops }, seenIn))
	if se := stageError(t, p, "x"); !errors.Is(se, errOops) {
		t.Errorf("got %v", se)
	}
}

func TestDedupeMistakes(t *testing.T) {
	for want, cfg := range map[string]stages.DedupeConfig{
		`"" is not a legal topic name`: {},
		"a window of -1s":              {Topic: "seen", Window: -time.Second},
		"-2 entries":                   {Topic: "seen", MaxEntries: -2},
		"-3 bytes":                     {Topic: "seen", MaxBytes: -3},
	} {
		if err := deduped(cfg, nil).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}

// At least once the state may be in its topic, and the output of the same record not: that
// record passes, and what is behind it is a copy.
func TestDedupeOfAnOutputThatIsMissing(t *testing.T) {
	task, err := deduped(seenIn, nil).Compile(pipeline.Partition{Topic: "in", Partition: 3}, pipeline.TaskConfig{
		Restore: func(_ context.Context, p pipeline.Partition, apply func(*pipeline.Raw) error) error {
			if p != (pipeline.Partition{Topic: "seen", Partition: 3}) {
				t.Errorf("it reads %v", p)
			}
			before := compile(t, deduped(seenIn, nil), "in")
			processed(t, before, 4, "a:1", "b:1")
			for _, o := range before.Outputs() {
				if o.Topic == "seen" {
					if err := apply(&pipeline.Raw{Key: o.Key, Value: o.Value, Timestamp: o.Timestamp}); err != nil {
						return err
					}
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Assigned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := processed(t, task, 5, "b:1", "a:2", "b:2"); got != "b:1" { // from offset 5 on
		t.Errorf("got %q", got)
	}
}

// A copy costs no allocation, a new id two, its entry and its key, and a part of the map and of
// what goes to the topic.
func TestDedupeAllocations(t *testing.T) {
	p, in := strs()
	s := stages.Dedupe(in, "dedupe", func(v string) string { return v }, seenIn)
	pipeline.To(stages.Filter(s, "none", func(string) bool { return false }), "out", serde.String())
	task := compile(t, p, "in")
	const n = 1000
	ids := make([]string, n)
	var round int
	r := raw("")
	offset := int64(0)
	run := func() {
		for _, id := range ids {
			r.Value, r.Origin.Offset = []byte(id), offset
			offset++
			if err := task.Process(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := task.BeforeCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
		task.Clear()
		task.Committed()
	}
	fresh := func() {
		round++
		for i := range ids {
			ids[i] = fmt.Sprint("id ", round, " ", i)
		}
	}
	fresh()
	run()
	const input = 2 // the value as bytes and as a string
	if per := testing.AllocsPerRun(5, run)/n - input; per > 0.1 {
		t.Errorf("a copy costs %.2f allocations", per)
	}
	made := testing.AllocsPerRun(5, fresh) / n
	if per := testing.AllocsPerRun(5, func() { fresh(); run() })/n - input - made; per > 3 { // as the doc comment says; it is 2.0, and what other goroutines and map growth add
		t.Errorf("a new id costs %.2f allocations", per)
	}
}

func BenchmarkDedupe(b *testing.B) {
	for name, copied := range map[string]bool{"new": false, "copy": true} {
		b.Run(name, func(b *testing.B) {
			p, in := strs()
			to(stages.Dedupe(in, "dedupe", func(v string) string { return v }, seenIn))
			task := compile(b, p, "in")
			r := raw("")
			values := make([][]byte, 50_000)
			for i := range values {
				values[i] = fmt.Appendf(nil, "order-%d", i)
			}
			b.ReportAllocs()
			for i := range b.N {
				r.Origin.Offset = int64(i)
				if !copied {
					r.Timestamp = when.Add(time.Duration(i/len(values)) * 2 * time.Hour) // new again
				}
				r.Value = values[i%len(values)]
				if err := task.Process(b.Context(), r); err != nil {
					b.Fatal(err)
				}
				if i%1000 == 0 {
					_ = task.BeforeCommit(b.Context())
					task.Clear()
					task.Committed()
				}
			}
		})
	}
}
