package stages_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/stages"
)

type lookUp = stages.TableFunc[string, string]

// asked is a pipeline whose only stage is EnrichAsync with a table.
func asked(table stages.Table[string, string], cfg stages.AsyncConfig, opts ...pipeline.StageOption) *pipeline.Pipeline {
	p, s := strs(pipeline.DeadLetter("dlq"))
	to(stages.EnrichAsync(s, "name", same, table, greet, cfg, opts...))
	return p
}

// slow is a table that takes the time for a look-up that takes says.
func slow(takes func(key string) time.Duration) lookUp {
	return func(ctx context.Context, key string) (string, bool, error) {
		select {
		case <-time.After(takes(key)): // fake time
			return "v-" + key, true, nil
		case <-ctx.Done():
			return "", false, context.Cause(ctx)
		}
	}
}

// The look-ups end in the reverse order, and the records go on in theirs.
func TestEnrichAsyncKeepsTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := 0
		var mu sync.Mutex
		values := numbered("v", 100)
		p := asked(slow(func(string) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			n++
			return time.Duration(100-n%10) * time.Millisecond
		}), stages.AsyncConfig{})
		expectEqual(t, "out", through(t, p, "out", values...), suffixed(values))
	})
}

// The figures of a service that takes 5 ms, commits each 100 ms included.
func TestEnrichAsyncThroughput(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var now, most atomic.Int64
		p := asked(lookUp(func(context.Context, string) (string, bool, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(5 * time.Millisecond)
			return "", true, nil
		}), stages.AsyncConfig{})
		const n = 10_000
		c := onePartition(p, numbered("v", n)...)
		began := time.Now()
		s := pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.CommitEvery(100*time.Millisecond, 0, 0)))
		rate := n / time.Since(began).Seconds()
		t.Logf("%.0f records/s, %d commits, %.3f of the ideal", rate, s.Commits, rate/3200)
		if rate < 0.9*16/0.005 {
			t.Errorf("%.0f records/s", rate)
		}
		if most.Load() != 16 {
			t.Errorf("%d look-ups at once, want 16", most.Load())
		}
	})
}

// Look-ups that take longer than a commit interval are still many at once, though every
// commit waits for the last of them.
func TestEnrichAsyncSlowerThanCommits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := asked(slow(func(string) time.Duration { return 300 * time.Millisecond }), stages.AsyncConfig{})
		const n = 1000
		c := onePartition(p, numbered("v", n)...)
		began := time.Now()
		pipelinetest.Run(t, p, c)
		rate := n / time.Since(began).Seconds()
		t.Logf("%.1f records/s, %.3f of the ideal", rate, rate/(16/0.3))
		if rate < 0.5*16/0.3 {
			t.Errorf("%.1f records/s", rate)
		}
	})
}

// finicky is a table some of whose keys are trouble.
var finicky = lookUp(func(_ context.Context, key string) (string, bool, error) {
	switch {
	case strings.HasPrefix(key, "no"):
		return "", false, nil
	case strings.HasPrefix(key, "bad"):
		return "", false, errOops
	case strings.HasPrefix(key, "panic"):
		panic(errOops)
	case strings.HasPrefix(key, "exit"):
		runtime.Goexit()
	case strings.HasPrefix(key, "fatal"):
		return "", false, pipeline.Fatal(errOops)
	}
	return "v-" + key, true, nil
})

func TestEnrichAsyncErrors(t *testing.T) {
	values := []string{"a", "no", "b", "bad", "c", "panic", "exit", "d", "e"}
	good := suffixed([]string{"a", "b", "c", "d", "e"})
	inBubble(t, func(t *testing.T) {
		p := asked(finicky, stages.AsyncConfig{})
		c := onePartition(p, values...)
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), good)
		var reasons []string
		for _, d := range c.DeadLetters("dlq") {
			reasons = append(reasons, d.Stage+" "+string(d.Value)+": "+d.Error)
		}
		expectEqual(t, "dead letters", reasons, []string{
			"name no: the table has no entry for the record's key: not found", "name bad: oops",
			"name panic: panic: oops", "name exit: the function ended its goroutine (runtime.Goexit)",
		})
		expectEqual(t, "skipped", through(t, asked(finicky, stages.AsyncConfig{}, pipeline.OnError(pipeline.Skip)), "out", values...), good)
	})
	for _, bad := range []string{"bad", "panic", "fatal"} {
		inBubble(t, func(t *testing.T) {
			opts := []pipeline.StageOption{pipeline.OnError(pipeline.Fail)}
			if bad == "fatal" {
				opts = nil // whatever the policy
			}
			p := asked(finicky, stages.AsyncConfig{}, opts...)
			c := onePartition(p, "a", "b", bad, "c", "d")
			err := c.Run(t.Context(), p)
			if se, ok := errors.AsType[*pipeline.StageError](err); !ok || !errors.Is(err, errOops) || se.Stage != "name" || se.Origin.Offset != 2 {
				t.Errorf("got %v", err)
			}
			if at := c.Committed("test")[pipeline.Partition{Topic: "in"}]; at > 2 {
				t.Errorf("position %d is committed", at)
			}
		})
	}
}

// join and key run in the chain, and their panics are the record's, too.
func TestEnrichAsyncFunctionsPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		refuse := func(v, what string) string {
			if v == what {
				panic(errOops)
			}
			return v
		}
		p, s := strs(pipeline.DeadLetter("dlq"))
		to(stages.EnrichAsync(s, "name", func(v string) string { return refuse(v, "key") }, finicky,
			func(v, name string) string { return greet(refuse(v, "join"), name) }, stages.AsyncConfig{}))
		c := onePartition(p, "a", "key", "b", "join", "c")
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), suffixed([]string{"a", "b", "c"}))
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"key", "join"})
	})
}

// Retry counts for each look-up, and those that wait do not keep others from theirs.
func TestEnrichAsyncRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		tries := map[string]int{}
		p := asked(lookUp(func(_ context.Context, key string) (string, bool, error) {
			mu.Lock()
			defer mu.Unlock()
			tries[key]++
			switch {
			case strings.HasPrefix(key, "down") && tries[key] < 8:
				return "", false, pipeline.Retriable(errOops)
			case strings.HasPrefix(key, "bad"), tries[key] < 3:
				return "", false, errOops
			}
			return "v-" + key, true, nil
		}), stages.AsyncConfig{}, pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{Initial: time.Second}, pipeline.ToDeadLetter)))
		values := append(numbered("v", 8), "bad", "down")
		c := onePartition(p, values...)
		began := time.Now()
		s := pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Observers(onlooker{})))
		if took := time.Since(began); took > 15*time.Second { // 2 s and the longest waits of one
			t.Errorf("it took %v: the waits were one after the other", took)
		}
		expectEqual(t, "out", valuesIn(c, "out"), suffixed(append(numbered("v", 8), "down")))
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"bad"})
		if tries["bad"] != 3 || tries["down"] != 8 || tries["v0"] != 3 {
			t.Errorf("tries: %v", tries)
		}
		if s.Waiting != 0 {
			t.Errorf("%d partitions wait", s.Waiting)
		}
	})
}

// hang is a table that never answers, but for keys that begin with v.
var hang = lookUp(func(ctx context.Context, key string) (string, bool, error) {
	if strings.HasPrefix(key, "v") {
		return "v-" + key, true, nil
	}
	<-ctx.Done()
	return "", false, context.Cause(ctx)
})

func TestEnrichAsyncTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := asked(hang, stages.AsyncConfig{}, pipeline.Timeout(time.Second))
		c := onePartition(p, "v1", "h1", "h2", "h3", "v2")
		began := time.Now()
		pipelinetest.Run(t, p, c)
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		expectEqual(t, "out", valuesIn(c, "out"), suffixed([]string{"v1", "v2"}))
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"h1", "h2", "h3"})
	})
}

// A stop, and a partition that is taken away, do not wait for ever for look-ups that hang,
// and leave no goroutine behind: the bubble waits for all. What they were for comes again.
func TestEnrichAsyncStopsWhileLookUpsHang(t *testing.T) {
	for name, end := range map[string]func(*pipelinetest.Cluster, *pipelinetest.Worker) error{
		"stop": func(_ *pipelinetest.Cluster, w *pipelinetest.Worker) error { return w.Stop() },
		"lost session": func(_ *pipelinetest.Cluster, w *pipelinetest.Worker) error {
			w.LoseSession()
			settle(time.Minute)
			return w.Stop()
		},
		"crash": func(_ *pipelinetest.Cluster, w *pipelinetest.Worker) error {
			w.Crash()
			_ = w.Wait()
			return nil
		},
	} {
		for _, batch := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					var table stages.Table[string, string] = hang
					if batch {
						table = &many{get: hang}
					}
					p := asked(table, stages.AsyncConfig{})
					c := onePartition(p, append(numbered("v", 3), numbered("h", 40)...)...)
					w := c.Start(t.Context(), p)
					settle(time.Second)
					began := time.Now()
					if err := end(c, w); err != nil {
						t.Error(err)
					}
					if took := time.Since(began); took > 2*time.Minute {
						t.Errorf("it took %v", took)
					}
					if at := c.Committed("test")[pipeline.Partition{Topic: "in"}]; at > 3 || len(c.Records("dlq")) > 0 {
						t.Errorf("position %d, %d dead letters", at, len(c.Records("dlq")))
					}
				})
			})
		}
	}
}

// A stop does not wait for what waits to be tried again.
func TestEnrichAsyncStopsWhileItWaits(t *testing.T) {
	for name, cfg := range map[string]stages.AsyncConfig{"retry": {}, "batch": {}, "rate": {PerSecond: 1.0 / 3600}, "breaker": {BreakAfter: 1, CoolDown: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				down := lookUp(func(_ context.Context, key string) (string, bool, error) {
					if name == "rate" {
						return "", true, nil
					}
					return "", false, pipeline.Retriable(errOops)
				})
				m := &many{get: down}
				p := asked(down, cfg)
				if name == "batch" {
					p = asked(m, cfg)
				}
				c := onePartition(p, numbered("v", 40)...)
				w := c.Start(t.Context(), p)
				settle(time.Minute)
				if n := w.Stats().Waiting; name != "rate" && n != 1 {
					t.Errorf("%d partitions wait, want 1", n)
				}
				began := time.Now()
				if err := w.Stop(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("the stop took %v", took)
				}
				if n := len(c.Records("dlq")); n > 0 || len(m.singles) > 0 {
					t.Errorf("%d dead letters, %q looked up alone", n, m.singles)
				}
			})
		})
	}
}

// The context of a look-up outlasts that of its record, and has its values.
func TestEnrichAsyncContext(t *testing.T) {
	type key struct{}
	inBubble(t, func(t *testing.T) {
		name := func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				return next(context.WithValue(ctx, key{}, string(r.Value)), r)
			}
		}
		p, s := strs(middleware.Timeout(time.Millisecond), pipeline.Use(name))
		full := stages.EnrichAsync(s, "name", same, lookUp(func(ctx context.Context, k string) (string, bool, error) {
			time.Sleep(10 * time.Millisecond)
			return "v-" + k, ctx.Value(key{}) == k, ctx.Err()
		}), greet, stages.AsyncConfig{}, pipeline.Timeout(time.Second))
		to(stages.CheckCtx(full, "after", func(ctx context.Context, v string) error {
			if !strings.HasPrefix(v, ctx.Value(key{}).(string)) {
				return errOops
			}
			return ctx.Err()
		}))
		values := numbered("v", 40)
		expectEqual(t, "out", through(t, p, "out", values...), suffixed(values))
	})
}

func TestEnrichAsyncRateLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		began := time.Now()
		p := asked(lookUp(func(_ context.Context, key string) (string, bool, error) {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
			return "v-" + key, true, nil
		}), stages.AsyncConfig{PerSecond: 10, Burst: 5})
		c := pipelinetest.For(p) // four partitions share the rate
		for i := range 40 {
			c.Feed("in", pipelinetest.Text("k", "v").On(int32(i%4)))
		}
		pipelinetest.Run(t, p, c)
		if len(at) != 40 {
			t.Fatalf("%d look-ups, want 40", len(at))
		}
		for i, d := range at { // 5 at once, then one each 100 ms
			if want := time.Duration(max(0, i-4)) * 100 * time.Millisecond; d-at[0] != want {
				t.Fatalf("look-up %d came after %v, want %v", i, d-at[0], want)
			}
		}
	})
}

// A service that is down for an hour is asked once for each cool-down.
func TestEnrichAsyncBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var asks atomic.Int64
		up := time.Now().Add(time.Hour)
		p := asked(lookUp(func(_ context.Context, key string) (string, bool, error) {
			asks.Add(1)
			if time.Now().Before(up) {
				time.Sleep(10 * time.Second)
				return "", false, pipeline.Retriable(errOops)
			}
			time.Sleep(2 * time.Second)
			return "v-" + key, true, nil
		}), stages.AsyncConfig{Concurrency: 4, BreakAfter: 3, CoolDown: time.Minute})
		values := numbered("v", 100)
		expectEqual(t, "out", through(t, p, "out", values...), suffixed(values))
		if n := asks.Load(); n < 140 || n > 160 { // 4 at first, less than one in 70 s, and 100
			t.Errorf("the table was asked %d times", n)
		}
		if late := time.Since(up); late > 180*time.Second { // a cool-down, a wait, and 40 times 2 s
			t.Errorf("it went on for %v after the table was back", late)
		}
	})
}

// Of a service that fails without marking its errors, no more records pay than it takes.
func TestEnrichAsyncBreakerBoundsDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		up := time.Now().Add(90 * time.Second)
		p := asked(lookUp(func(_ context.Context, key string) (string, bool, error) {
			if time.Now().Before(up) {
				return "", false, errOops
			}
			return "v-" + key, true, nil
		}), stages.AsyncConfig{Concurrency: 1, BreakAfter: 3, CoolDown: time.Minute})
		values := numbered("v", 20)
		c := onePartition(p, values...)
		pipelinetest.Run(t, p, c)
		expectEqual(t, "dead", valuesIn(c, "dlq"), values[:4]) // three, and a probe
		expectEqual(t, "out", valuesIn(c, "out"), suffixed(values[4:]))
	})
}

func TestAsyncConfigValidate(t *testing.T) {
	p := asked(finicky, stages.AsyncConfig{Concurrency: -1, BatchSize: 7, PerSecond: -1, BreakAfter: -1, CoolDown: -1})
	err := p.Validate()
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{`stage "name"`, "Concurrency", "PerSecond", "BreakAfter", "CoolDown", "BatchSize is for"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("nothing about %q in %v", part, err)
		}
	}
	for _, bad := range []stages.AsyncConfig{{Burst: 1}, {Concurrency: 1 << 20}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if err := (stages.AsyncConfig{}).Validate(); err != nil {
		t.Error(err)
	}
}
