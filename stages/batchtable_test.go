package stages_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/stages"
)

// many is a table that looks up many keys at once; one that fails fails all.
type many struct {
	get   lookUp
	takes time.Duration

	mu      sync.Mutex
	batches [][]string
	singles []string
	now     int
	most    int // at once
}

func (m *many) Get(ctx context.Context, key string) (string, bool, error) {
	m.mu.Lock()
	m.singles = append(m.singles, key)
	m.mu.Unlock()
	return m.get(ctx, key)
}

func (m *many) GetMany(ctx context.Context, keys []string) (map[string]string, error) {
	m.mu.Lock()
	m.batches = append(m.batches, keys)
	m.now++
	m.most = max(m.most, m.now)
	m.mu.Unlock()
	time.Sleep(m.takes)
	m.mu.Lock()
	m.now--
	m.mu.Unlock()
	found := map[string]string{}
	for _, k := range keys {
		v, ok, err := m.get(ctx, k)
		if err != nil {
			return nil, err
		}
		if ok {
			found[k] = v
		}
	}
	return found, nil
}

func TestEnrichAsyncBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := &many{get: finicky, takes: 5 * time.Millisecond}
		values := append(numbered("v", 250), "v7", "v7", "nothing")
		p := asked(m, stages.AsyncConfig{Concurrency: 2, BatchSize: 20})
		c := onePartition(p, values...)
		pipelinetest.Run(t, p, c)
		expectEqual(t, "out", valuesIn(c, "out"), suffixed(values[:252]))
		expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"nothing"})
		if m.most != 2 || len(m.batches) > 16 {
			t.Errorf("%d batches, %d at once", len(m.batches), m.most)
		}
		for _, b := range m.batches {
			if n := len(b); n > 20 || n > 1 && strings.Count(strings.Join(b, " ")+" ", "v7 ") > 1 {
				t.Errorf("a batch of %q", b)
			}
		}
		if len(m.singles) > 0 {
			t.Errorf("%q were looked up alone", m.singles)
		}
	})
}

// A batch waits for more keys, but not for long.
func TestEnrichAsyncBatchWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := &many{get: finicky}
		p := asked(m, stages.AsyncConfig{BatchWait: 20 * time.Millisecond})
		c := onePartition(p)
		w := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.CommitEvery(time.Hour, 0, 0)))
		for _, v := range numbered("v", 6) {
			c.Feed("in", pipelinetest.Text(v, v))
			settle(9 * time.Millisecond)
		}
		settle(time.Second)
		if len(m.batches) != 2 || len(m.batches[0]) != 3 || len(m.batches[1]) != 3 {
			t.Errorf("batches %q, want two of three", m.batches)
		}
		began := time.Now()
		c.Feed("in", pipelinetest.Text("v", "v9"))
		synctest.Wait()
		if err := w.Stop(); err != nil { // the last batch need not wait
			t.Error(err)
		}
		if took := time.Since(began); took >= 20*time.Millisecond {
			t.Errorf("the stop took %v", took)
		}
		expectEqual(t, "out", valuesIn(c, "out"), suffixed(append(numbered("v", 6), "v9")))
	})
}

// Batches that are not full do not go while there are enough of them; they grow.
func TestEnrichAsyncBatchesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := &many{get: finicky, takes: 100 * time.Millisecond}
		p := asked(m, stages.AsyncConfig{Concurrency: 1})
		c := onePartition(p)
		w := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.CommitEvery(time.Hour, 0, 0)))
		for _, v := range numbered("v", 20) {
			c.Feed("in", pipelinetest.Text(v, v))
			settle(9 * time.Millisecond)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if m.most != 1 || len(m.batches) != 3 {
			t.Errorf("%d batches, %d at once: %q", len(m.batches), m.most, m.batches)
		}
	})
}

// What a batch fails for is the error of one key only.
func TestEnrichAsyncBatchFails(t *testing.T) {
	for _, bad := range []string{"bad", "panic", "exit"} {
		t.Run(bad, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := &many{get: finicky}
				p := asked(m, stages.AsyncConfig{})
				c := onePartition(p, "a", "b", bad, "c")
				pipelinetest.Run(t, p, c)
				if bad == "exit" { // nothing is left that could look the others up
					expectEqual(t, "dead", valuesIn(c, "dlq"), []string{"a", "b", bad, "c"})
					return
				}
				expectEqual(t, "out", valuesIn(c, "out"), suffixed([]string{"a", "b", "c"}))
				expectEqual(t, "dead", valuesIn(c, "dlq"), []string{bad})
				expectEqual(t, "looked up alone", m.singles, []string{"a", "b", bad, "c"})
			})
		})
	}
}

// A left join: what is missing goes on without a value, alone, in a batch, and in a batch
// that has to be looked up one by one. An error is still the record's.
func TestEnrichAsyncOptional(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		get := lookUp(func(_ context.Context, key string) (string, bool, error) {
			switch key {
			case "bad":
				return "", false, errors.New("refused")
			case "nothing":
				return "left over", false, nil
			}
			return "v-" + key, true, nil
		})
		for name, table := range map[string]stages.Table[string, string]{"alone": get, "batches": &many{get: get}} {
			for _, values := range [][]string{{"a", "nothing", "b", "a"}, {"a", "nothing", "bad", "b"}} {
				p, s := strs(pipeline.DeadLetter("dlq"))
				to(stages.EnrichAsyncOptional(s, "name", same, table, func(v, name string, found bool) string {
					if found != (v != "nothing") || !found && name != "" {
						t.Errorf("%s: %q was joined with %q, found %v", name, v, name, found)
					}
					return greet(v, name)
				}, stages.AsyncConfig{}))
				c := onePartition(p, values...)
				pipelinetest.Run(t, p, c)
				var want, dead []string
				for _, v := range values {
					switch v {
					case "bad":
						dead = append(dead, v)
					case "nothing":
						want = append(want, "nothing:")
					default:
						want = append(want, suffixed([]string{v})...)
					}
				}
				expectEqual(t, name, valuesIn(c, "out"), want)
				expectEqual(t, name+", dead", valuesIn(c, "dlq"), dead)
			}
		}
	})
}
