package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/stages"
)

// Workers with a random life: faults at random steps, crashes, restarts, moves,
// zombies. In the end everything is there, once and in order.
func TestSoak(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				soak(t, seed, false, calls(func(_ context.Context, v string) error {
					time.Sleep(3 * time.Millisecond)
					if len(v)%7 == 3 {
						return errOops // a dead letter
					}
					return nil
				}))
			})
		})
	}
}

// The same with a stage whose state is in a topic, one behind it that holds records, and every
// other record a copy of an earlier one.
func TestSoakOfState(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				soak(t, seed, true, func(s stream) stream {
					s = stages.Dedupe(s, "dedupe", func(v string) string { return v }, stages.DedupeConfig{Topic: "seen"})
					return stages.ParallelCtx(s, "parallel", 3, func(_ context.Context, v string) (string, error) {
						time.Sleep(5 * time.Millisecond)
						return v, nil
					})
				})
			})
		})
	}
}

func soak(t *testing.T, seed uint64, copies bool, stage func(stream) stream) {
	const partitions, rounds = 5, 50
	rnd := rand.New(rand.NewPCG(seed, 1))
	p, c := engine(partitions, stage)
	fed, ends := make([]int, partitions), make([]int, partitions)
	value := func(part, n int) string { return fmt.Sprintf("%d-%0*d", part, 1+n%9, n) }
	live(t, c, p, rnd, partitions, rounds, func(part int) {
		for range rnd.IntN(40) {
			feed(c, int32(part), value(part, fed[part]))
			fed[part]++
			ends[part]++
			if copies {
				feed(c, int32(part), value(part, rnd.IntN(fed[part])))
				ends[part]++
			}
		}
	})
	expectForward(t, c)
	check(t, c, fed, ends)
}

// live is the life of the workers, until all that more has fed is committed.
func live(t *testing.T, c *pipelinetest.Cluster, p *pipeline.Pipeline, rnd *rand.Rand, partitions, rounds int, more func(partition int)) {
	inputs := p.Inputs()
	names := []string{"a", "b", "d"}
	workers := map[string]*pipelinetest.Worker{}
	ensure := func(name string) {
		if w := workers[name]; w != nil {
			select {
			case <-w.Done():
			default:
				return
			}
		}
		workers[name] = c.Start(t.Context(), p, pipelinetest.Instance(name))
	}
	for range rounds {
		for _, name := range names {
			ensure(name)
		}
		more(rnd.IntN(partitions))
		name := names[rnd.IntN(len(names))]
		switch w := workers[name]; rnd.IntN(12) {
		case 0:
			w.Crash()
		case 1:
			stopQuietly(w)
		case 2:
			w.LoseSession()
		case 3:
			w.Freeze()
		case 4:
			w.Thaw()
		case 5:
			c.Rebalance("test")
		case 6, 7:
			c.Move("test", inputs[rnd.IntN(len(inputs))], int32(rnd.IntN(partitions)), name)
		default:
			step := pipelinetest.Steps[rnd.IntN(len(pipelinetest.Steps))]
			kinds := []pipelinetest.Kind{pipelinetest.Abortable, pipelinetest.Ambiguous, pipelinetest.Fence, pipelinetest.Crash, pipelinetest.LoseSession, pipelinetest.LateEnd}
			f := pipelinetest.Fault{Step: step, When: pipelinetest.When(rnd.IntN(2)), N: 1 + rnd.IntN(3), Kind: kinds[rnd.IntN(len(kinds))]}
			ended := step == pipelinetest.StepCommit || step == pipelinetest.StepAbort
			if f.Kind == pipelinetest.Abortable && f.When == pipelinetest.After || f.Kind == pipelinetest.LateEnd && (!ended || f.When == pipelinetest.After) {
				f.Kind = pipelinetest.Ambiguous
			}
			c.Inject(f)
		}
		settle(time.Duration(rnd.IntN(3000)) * time.Millisecond)
	}
	for _, w := range workers {
		stopQuietly(w)
	}
	for range 20 { // what is armed may go off yet
		if err := c.Run(t.Context(), p, pipelinetest.Instance("a")); err == nil && c.Finished(p) {
			break
		}
	}
	settle(time.Minute) // what crashed workers left open, and readers wait for, times out
}

// stopQuietly stops a worker that may fail on the way.
func stopQuietly(w *pipelinetest.Worker) { _ = w.Stop() }

// check looks for every record, once, in the order of its partition.
func check(t *testing.T, c *pipelinetest.Cluster, fed, ends []int) {
	t.Helper()
	last := map[string]int{} // by topic, partition written and partition read
	seen := map[string]int{}
	for _, topic := range []string{"out", "dlq"} {
		for _, r := range c.Records(topic) {
			var part, n int
			if _, err := fmt.Sscanf(string(r.Value), "%d-%d", &part, &n); err != nil {
				t.Fatal(err)
			}
			seen[fmt.Sprintf("%d-%d", part, n)]++
			lane := fmt.Sprint(topic, r.Origin.Partition, part)
			if before, ok := last[lane]; ok && n <= before {
				t.Errorf("%s: %d after %d", lane, n, before)
			}
			last[lane] = n
		}
	}
	for part, n := range fed {
		expectPosition(t, c, int32(part), int64(ends[part]))
		for i := range n {
			if times := seen[fmt.Sprintf("%d-%d", part, i)]; times != 1 {
				t.Errorf("record %d of partition %d is there %d times", i, part, times)
			}
		}
	}
}

// Whatever goes wrong at whatever step of a plain pipeline, it ends up exact.
func TestEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			return build(calls(func(ctx context.Context, v string) error {
				time.Sleep(20 * time.Millisecond)
				return bad(ctx, v)
			}), pipeline.DeadLetter("dlq"))
		},
		Feed: func(c *pipelinetest.Cluster) {
			feed(c, 0, append(numbered("a", 20), "bad", "a20")...)
			feed(c, 1, append(numbered("b", 20), "bad", "b20")...)
		},
		Occurrences: 3,
	})
}
