package stages_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/stages"
)

// windows are the stages that have calls under way, over a function.
func windows(get lookUp) map[string]func(stream) stream {
	return map[string]func(stream) stream{
		"EnrichAsync": func(s stream) stream {
			return stages.EnrichAsync(s, "name", same, stages.Table[string, string](get), func(_, v string) string { return v }, stages.AsyncConfig{BreakAfter: 1})
		},
		"batches": func(s stream) stream {
			return stages.EnrichAsync(s, "name", same, stages.Table[string, string](&many{get: get}), func(_, v string) string { return v }, stages.AsyncConfig{})
		},
		"Parallel": func(s stream) stream {
			return stages.ParallelCtx(s, "name", 4, func(ctx context.Context, v string) (string, error) {
				v, _, err := get(ctx, v)
				return v, err
			})
		},
	}
}

func processAll(t *testing.T, task *pipeline.Task, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := task.Process(t.Context(), raw(v)); err != nil {
			t.Fatal(err)
		}
	}
}

// What is finished goes on when the next record comes, not only before a commit.
func TestFinishedCallsGoOnWithTheNextRecord(t *testing.T) {
	slow := func(ctx context.Context, key string) (string, bool, error) {
		time.Sleep(time.Millisecond) // ends when all records are in
		return finicky(ctx, key)
	}
	for name, stage := range windows(slow) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, s := strs()
				to(stage(s))
				task := compile(t, p, "in")
				processAll(t, task, "a", "b", "c")
				settle(time.Second)
				expect(t, texts(task))
				processAll(t, task, "d")
				expect(t, texts(task), "out=v-a", "out=v-b", "out=v-c")
				expectHead(t, task.Outputs()[1])
				if err := task.BeforeCommit(t.Context()); err != nil {
					t.Fatal(err)
				}
				expect(t, texts(task), "out=v-a", "out=v-b", "out=v-c", "out=v-d")
			})
		})
	}
}

// Calls under way end with an abort, or when the partition is given up, and are forgotten:
// when the hook returns, none is left.
func TestCallsUnderWayAreGivenUp(t *testing.T) {
	for name := range windows(hang) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var busy atomic.Int64
				p, s := strs()
				to(windows(func(ctx context.Context, key string) (string, bool, error) {
					v, ok, err := hang(ctx, key)
					if err != nil {
						time.Sleep(time.Duration(busy.Add(1)) * time.Second)
						busy.Add(-1)
					}
					return v, ok, err
				})[name](s))
				task := compile(t, p, "in")
				for range 2 {
					processAll(t, task, "h1", "v1", "h2")
					synctest.Wait()
					task.Aborted()
					if n := busy.Load(); n > 0 {
						t.Errorf("%d calls are still busy", n)
					}
				}
				began := time.Now()
				processAll(t, task, "v1", "v2")
				if err := task.BeforeCommit(t.Context()); err != nil {
					t.Fatal(err)
				}
				expect(t, texts(task), "out=v-v1", "out=v-v2")
				if took := time.Since(began); took > 10*time.Millisecond { // the breaker does not count them
					t.Errorf("those after them took %v", took)
				}
				processAll(t, task, "h1", "v1", "h2")
				task.Revoked()
				if n := busy.Load(); n > 0 {
					t.Errorf("%d calls are still busy", n)
				}
			})
		})
	}
}

// What a record costs with its decoding and its output, which are 1 of these.
func TestCallsAllocations(t *testing.T) {
	for name, stage := range windows(func(context.Context, string) (string, bool, error) { return "v", true, nil }) {
		p, s := strs()
		to(stage(s))
		task, r := compile(t, p, "in"), raw("a")
		if err := task.Assigned(t.Context()); err != nil {
			t.Fatal(err)
		}
		const n = 500
		run := func() {
			for range n {
				if err := task.Process(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if err := task.BeforeCommit(t.Context()); err != nil {
				t.Fatal(err)
			}
			task.Clear()
		}
		run()
		per := testing.AllocsPerRun(10, run) / n
		t.Logf("%s: %.1f allocations a record", name, per)
		if per > 10 {
			t.Errorf("%s: %.1f allocations a record", name, per)
		}
	}
}
