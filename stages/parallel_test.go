package stages_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/stages"
)

// spread is a pipeline whose only stage is Parallel.
func spread(n int, fn func(string) (string, error), opts ...pipeline.StageOption) *pipeline.Pipeline {
	p, s := strs(pipeline.DeadLetter("dlq"))
	to(stages.Parallel(s, "work", n, fn, opts...))
	return p
}

// Results go on in the order of the input, and the records of a key are worked on in it,
// one after the other, while those of others are.
func TestParallelKeepsTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		working, most, seen := map[string]bool{}, 0, map[string][]string{}
		p := spread(4, func(v string) (string, error) {
			key, _, _ := strings.Cut(v, "-")
			mu.Lock()
			if working[key] {
				t.Errorf("two records of key %s at once", key)
			}
			working[key] = true
			most = max(most, len(working))
			seen[key] = append(seen[key], v)
			mu.Unlock()
			time.Sleep(time.Duration(len(v)%3+1) * time.Millisecond)
			mu.Lock()
			delete(working, key)
			mu.Unlock()
			return v, nil
		})
		c := onePartition(p)
		var values []string
		want := map[string][]string{}
		for i := range 300 {
			key := fmt.Sprint("k", i%7)
			v := fmt.Sprintf("%s-%d", key, i*i)
			values, want[key] = append(values, v), append(want[key], v)
			c.Feed("in", pipelinetest.Text(key, v))
		}
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), values)
		for key := range want {
			expectEqual(t, key, seen[key], want[key])
		}
		if most < 2 || most > 4 {
			t.Errorf("%d goroutines worked at once", most)
		}
	})
}

// Records without a key go round.
func TestParallelWithoutKeys(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := spread(5, func(v string) (string, error) {
			time.Sleep(time.Second)
			return v, nil
		})
		c := onePartition(p)
		values := numbered("v", 50)
		for _, v := range values {
			c.Feed("in", pipelinetest.Value(stringSerde, v))
		}
		began := time.Now()
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), values)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v, want 10 s and what commits wait", took)
		}
	})
}

func TestParallelErrors(t *testing.T) {
	work := func(v string) (string, error) {
		_, _, err := finicky(context.Background(), v)
		return v, err
	}
	inBubble(t, func(t *testing.T) {
		p := spread(1, work) // so that each comes after the one before on its goroutine
		c := onePartition(p, "a", "bad", "b", "panic", "c", "exit", "d")
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), []string{"a", "b", "c", "d"})
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"bad", "panic", "exit"})
		for _, d := range c.DeadLetters("dlq") {
			if d.Stage != "work" {
				t.Errorf("a dead letter of stage %q", d.Stage)
			}
		}
		expectEqual(t, "skipped", through(t, spread(2, work, pipeline.OnError(pipeline.Skip)), "out", "a", "bad", "panic", "b"), []string{"a", "b"})
	})
	inBubble(t, func(t *testing.T) {
		p := spread(2, work, pipeline.OnError(pipeline.Fail))
		c := onePartition(p, "a", "b", "panic", "c")
		err := c.Run(t.Context(), p)
		se, ok := errors.AsType[*pipeline.StageError](err)
		if pe, isPanic := errors.AsType[*pipeline.PanicError](err); !ok || !isPanic || se.Origin.Offset != 2 || !strings.Contains(string(pe.Stack), "finicky") && len(pe.Stack) == 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestParallelRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var tries, panics atomic.Int64
		p := spread(2, func(v string) (string, error) {
			if v == "panic" {
				panics.Add(1)
				panic(v)
			}
			if v == "bad" || v == "shaky" && tries.Load() < 2 {
				tries.Add(1)
				return "", errOops
			}
			return v, nil
		}, pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{}, pipeline.ToDeadLetter)))
		c := onePartition(p, "a", "shaky", "b", "bad", "panic", "c")
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), []string{"a", "shaky", "b", "c"})
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"bad", "panic"})
		if n := panics.Load(); n != 1 {
			t.Errorf("a panic was tried %d times", n)
		}
	})
}

// What has not begun when its record is given up does not begin.
func TestParallelDoesNotBeginInVain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int64
		task := compile(t, spread(1, func(v string) (string, error) {
			n.Add(1)
			time.Sleep(time.Second)
			return v, nil
		}), "in")
		processAll(t, task, "a", "b", "c")
		synctest.Wait()
		task.Aborted()
		if n.Load() != 1 {
			t.Errorf("%d were begun, want 1", n.Load())
		}
	})
}

func TestParallelCtx(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, s := strs(pipeline.DeadLetter("dlq"))
		to(stages.ParallelCtx(s, "work", 3, func(ctx context.Context, v string) (string, error) {
			_, _, err := hang(ctx, v)
			return v, err
		}, pipeline.Timeout(time.Second)))
		c := onePartition(p, "v1", "h1", "v2", "h2")
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), []string{"v1", "v2"})
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"h1", "h2"})

		p, s = strs()
		to(stages.ParallelCtx(s, "work", 3, func(ctx context.Context, v string) (string, error) {
			_, _, err := hang(ctx, v)
			return v, err
		}))
		c = onePartition(p, numbered("h", 100)...)
		w := c.Start(t.Context(), p)
		settle(time.Second)
		began := time.Now()
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestParallelOnGOMAXPROCS(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var now, most atomic.Int64
		p := spread(0, func(v string) (string, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Millisecond)
			return v, nil
		})
		through(t, p, "out", numbered("v", 50)...)
		if want := runtime.GOMAXPROCS(0); most.Load() != int64(want) {
			t.Errorf("%d at once, want %d", most.Load(), want)
		}
	})
	if err := spread(-1, upper).Validate(); !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), `stage "work": Parallel on -1`) {
		t.Errorf("got %v", err)
	}
}

// Both stages, one after the other, with another that refuses records, and one branch
// past them: whatever happens, each record comes out once, whole, and in order.
func TestEveryStepWithCallsUnderWay(t *testing.T) {
	for name, table := range map[string]func() stages.Table[string, string]{
		"single": func() stages.Table[string, string] { return shaky },
		"batch":  func() stages.Table[string, string] { return &many{get: shaky, takes: 3 * time.Millisecond} },
	} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.EveryStep(t, pipelinetest.Scenario{
				Build: func() *pipeline.Pipeline {
					p, s := strs(pipeline.DeadLetter("dlq"))
					worked := stages.Parallel(s, "work", 3, func(v string) (string, error) {
						time.Sleep(time.Duration(len(v)) * time.Millisecond)
						if v == "w5" {
							panic(v)
						}
						return v, nil
					})
					full := stages.EnrichAsync(worked, "name", same, table(), greet, stages.AsyncConfig{Concurrency: 3})
					to(stages.Check(full, "check", func(v string) error {
						if strings.HasPrefix(v, "v7") {
							return errOops
						}
						return nil
					}))
					pipeline.To(s, "past", stringSerde)
					return p
				},
				Feed: func(c *pipelinetest.Cluster) {
					for _, prefix := range []string{"v", "w"} {
						for _, v := range slices.Insert(numbered(prefix, 12), 3, "no"+prefix, "bad"+prefix) {
							c.Feed("in", pipelinetest.Text(v, v).On(int32(prefix[0]-'v')))
						}
					}
				},
			})
		})
	}
}

// shaky is finicky and takes its time.
var shaky = lookUp(func(ctx context.Context, key string) (string, bool, error) {
	if _, _, err := slow(func(key string) time.Duration { return time.Duration(len(key)*7%5) * time.Millisecond })(ctx, key); err != nil {
		return "", false, err
	}
	return finicky(ctx, key)
})

// Two goroutines do nearly twice of what one does, with keys that chance gives to one of
// them, and commits that wait for both.
func TestParallelThroughput(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := spread(2, func(v string) (string, error) {
			time.Sleep(time.Millisecond) // a core each, in fake time
			return v, nil
		})
		const n = 4000
		c := onePartition(p, numbered("v", n)...)
		began := time.Now()
		pipelinetest.Run(t, p, c)
		times := n * time.Millisecond.Seconds() / time.Since(began).Seconds()
		t.Logf("%.2f times", times)
		if times < 1.6 {
			t.Errorf("%.2f times as fast as one", times)
		}
	})
}
