package stages_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// copies feeds each of n ids three times, some apart, to each of two partitions, in order of
// time.
func copies(c *pipelinetest.Cluster, n int) {
	for part := range int32(2) {
		for i := range n + 10 {
			for try, id := range []int{i, i - 3, i - 10} {
				if id < 0 || id >= n {
					continue
				}
				c.Feed("in", pipelinetest.Text("k", fmt.Sprintf("%d-%d:%d", part, id, try)).On(part).At(when.Add(time.Duration(i)*time.Second)))
			}
		}
	}
}

// once checks that each of n ids of two partitions is in topic out once, and in the state if
// that is not bounded.
func once(n int, withState bool) func(c *pipelinetest.Cluster) error {
	return func(c *pipelinetest.Cluster) error {
		times := map[string]int{}
		for _, v := range pipelinetest.Values(c, "out", serde.String()) {
			times[idOf(v)]++
		}
		known := stateOf(c, "seen")
		var errs []error
		for part := range 2 {
			for i := range n {
				id := fmt.Sprintf("%d-%d", part, i)
				if times[id] != 1 {
					errs = append(errs, fmt.Errorf("%s came out %d times", id, times[id]))
				}
				if withState && known[id] == nil {
					errs = append(errs, fmt.Errorf("%s is not in the state", id))
				}
			}
		}
		if withState && len(known) != 2*n {
			errs = append(errs, fmt.Errorf("%d ids in the state, not %d", len(known), 2*n))
		}
		return errors.Join(errs...)
	}
}

// stateOf is what a reader of a compacted topic has of it in the end.
func stateOf(c *pipelinetest.Cluster, topic string) map[string][]byte {
	state := map[string][]byte{}
	for _, r := range c.Records(topic) {
		if r.Value == nil {
			delete(state, string(r.Key))
			continue
		}
		state[string(r.Key)] = r.Value
	}
	return state
}

func TestDedupeSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return deduped(seenIn, nil) },
		Feed:  func(c *pipelinetest.Cluster) { copies(c, 12) },
		Check: once(12, true),
	})
}

// With stages behind that hold records, and one of two tries of an id that fails.
func TestDedupeBeforeHoldersSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			return deduped(seenIn, func(s pipeline.Stream[string]) pipeline.Stream[string] {
				return stages.Parallel(s, "parallel", 3, func(v string) (string, error) {
					if strings.HasSuffix(v, "3:0") {
						return "", errOops
					}
					return v, nil
				})
			}, pipeline.OnError(pipeline.Skip))
		},
		Feed:  func(c *pipelinetest.Cluster) { copies(c, 12) },
		Check: once(12, true), OnlyCheck: true,
	})
}

// With a bound that forgets ids before their last copies come, and not before.
func TestBoundedDedupeSurvivesEveryStep(t *testing.T) {
	cfg := seenIn
	cfg.Window = 11 * time.Second
	cfg.MaxEntries = 20
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return deduped(cfg, nil) },
		Feed:  func(c *pipelinetest.Cluster) { copies(c, 30) },
		Check: func(c *pipelinetest.Cluster) error {
			if n := len(stateOf(c, "seen")); n > 2*12 {
				return fmt.Errorf("%d ids are left in the state", n)
			}
			return once(30, false)(c)
		},
		OnlyCheck: true,
	})
}

// At least once nothing is lost.
func TestDedupeAtLeastOnceSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build:       func() *pipeline.Pipeline { return deduped(seenIn, nil) },
		Feed:        func(c *pipelinetest.Cluster) { copies(c, 12) },
		Options:     []pipelinetest.Option{pipelinetest.Engine(pipeline.Require(pipeline.AtLeastOnce))},
		AtLeastOnce: true,
	})
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func settled(d time.Duration) {
	synctest.Wait()
	time.Sleep(d) // fake time
	synctest.Wait()
}

// What is seen goes with the partition, with copies before, between and behind the moves.
func TestDedupeMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := deduped(seenIn, nil)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2)})
		workers := []*pipelinetest.Worker{
			c.Start(t.Context(), p, pipelinetest.Instance("a")), c.Start(t.Context(), p, pipelinetest.Instance("b")),
		}
		for i := range 6 {
			c.Move("test", "in", 0, []string{"a", "b"}[i%2])
			c.Move("test", "in", 1, []string{"b", "a"}[i%2])
			copies(c, 3+i)
			settled(time.Second)
		}
		for _, w := range workers {
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if err := once(8, true)(c); err != nil {
			t.Error(err)
		}
	})
}

// The state is bounded, in memory and in the topic, and so it is restored.
func TestDedupeForgets(t *testing.T) {
	for name, cfg := range map[string]stages.DedupeConfig{
		"entries": {Topic: "seen", MaxEntries: 10},
		"bytes":   {Topic: "seen", MaxBytes: 10 * 204}, // an id of 4 bytes and 200
		"window":  {Topic: "seen", Window: 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := deduped(cfg, nil)
				c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
				run := func(ids ...int) {
					for _, id := range ids {
						c.Feed("in", pipelinetest.Text("k", fmt.Sprintf("%04d", id)).At(when.Add(time.Duration(id)*time.Second)))
					}
					if err := c.Run(t.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 5 { // in several runs
					run(slices.Collect(ints(20*i, 20*i+20))...)
					if n := len(stateOf(c, "seen")); n != 10 {
						t.Fatalf("%d ids in the state", n)
					}
				}
				run(90, 99) // known
				if n := len(c.Records("out")); n != 100 {
					t.Errorf("%d came out, want 100", n)
				}
				run(89) // forgotten
				if n := len(c.Records("out")); n != 101 {
					t.Errorf("%d came out, want 101", n)
				}
			})
		})
	}
}

func ints(from, to int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := from; i < to; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// When the positions are set back, the records come out again, though their ids are known:
// an id counts for the records behind it.
func TestDedupeOfPositionsSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := deduped(seenIn, nil)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		c.Feed("in", pipelinetest.Text("k", "a:1"), pipelinetest.Text("k", "a:2"), pipelinetest.Text("k", "b:1"))
		for _, group := range []string{"one", "two"} {
			if err := c.Run(t.Context(), p, pipelinetest.Group(group)); err != nil {
				t.Fatal(err)
			}
		}
		if got := pipelinetest.Values(c, "out", serde.String()); !slices.Equal(got, []string{"a:1", "b:1", "a:1", "b:1"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A topic that somebody else writes is no state.
func TestDedupeOfAForeignState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := deduped(seenIn, nil)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		c.Feed("seen", pipelinetest.Text("k", "a secret"))
		c.Feed("in", pipelinetest.Text("k", "v"))
		err := c.Run(t.Context(), p)
		if err == nil || !strings.Contains(err.Error(), "record seen[0]@0 of the state is not one of this stage") || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}
