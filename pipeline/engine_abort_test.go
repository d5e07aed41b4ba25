package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// A definite abort is replayed from memory: nothing is lost or doubled, and the
// session goes on.
func TestAbortReplaysFromMemory(t *testing.T) {
	for _, step := range []pipelinetest.Step{pipelinetest.StepBegin, pipelinetest.StepSend, pipelinetest.StepOffsets, pipelinetest.StepCommit} {
		t.Run(string(step), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(2, asIs)
				feed(c, 0, numbered("a", 25)...)
				feed(c, 1, numbered("b", 25)...)
				for range 4 {
					c.Inject(pipelinetest.Fault{Step: step, Kind: pipelinetest.Abortable})
				}
				if err := c.Run(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				expectTexts(t, c, "out", append(numbered("a", 25), numbered("b", 25)...)...)
				if got := steps(c, pipelinetest.StepInit, pipelinetest.StepFetch); got != "init fetch-committed fetch-committed" {
					t.Errorf("a definite abort needs no new session, but there were: %s", got)
				}
				if left := c.Armed(); len(left) > 0 {
					t.Errorf("%v did not go off", left)
				}
			})
		})
	}
}

// A stage with state must hear of an abort, or the replay finds the records seen.
func TestAbortedRestoresState(t *testing.T) {
	values := []string{"a", "b", "a", "c", "b", "d"}
	run := func(t *testing.T, restore bool) *pipelinetest.Cluster {
		p, c := engine(1, dedupe(restore, nil))
		feed(c, 0, values...)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("restored", func(t *testing.T) {
		inBubble(t, func(t *testing.T) { expectTexts(t, run(t, true), "out", "a", "b", "c", "d") })
	})
	t.Run("not restored", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			if got := texts(run(t, false), "out"); len(got) != 0 {
				t.Errorf("without its Aborted hook the stage drops what is replayed, but got %q", got)
			}
		})
	})
}

// Committed speaks for what was handed over before, and for nothing since: a stage
// that keeps its state by it must not keep what the next transaction, which is
// aborted, has seen. And what is committed of a batch is not replayed with the
// rest. The batch outlasts several commits, the first of which may be slow.
func TestAbortInTheMiddleOfABatch(t *testing.T) {
	for name, stage := range map[string]func(stream) stream{"plain": asIs, "state": dedupe(true, nil)} {
		for _, slow := range []time.Duration{0, 150 * time.Millisecond} {
			for n := range 6 {
				t.Run(fmt.Sprintf("%s, commit %d, the first takes %v", name, n+1, slow), func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						p, c := engine(1, func(s stream) stream { return calls(takes(60 * time.Millisecond))(stage(s)) })
						feed(c, 0, numbered("v", 10)...)
						first := true
						holdCommits(c, slow, func() bool { defer func() { first = false }(); return first })
						c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, N: n + 1, Kind: pipelinetest.Abortable})
						if err := c.Run(t.Context(), p); err != nil {
							t.Fatal(err)
						}
						expectTexts(t, c, "out", numbered("v", 10)...)
					})
				})
			}
		}
	}
}

// An abort does not wait for nothing and not for ever: the pause grows with each
// in a row and starts anew after a commit.
func TestAbortsInARowAreSpacedOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "a")
		for range 10 {
			c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		}
		began := time.Now()
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 4*time.Second || took > 12*time.Second {
			t.Errorf("ten aborts took %v", took)
		}
		expectTexts(t, c, "out", "a")
	})
}

// Whatever goes wrong at whatever step, a stage with state that is loaded from
// its own output ends up exact.
func TestEveryStepWithState(t *testing.T) {
	var cluster *pipelinetest.Cluster
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			return build(dedupe(true, func() []string { return texts(cluster, "out") }))
		},
		Feed: func(c *pipelinetest.Cluster) {
			cluster = c
			for i := range 24 {
				c.Feed("in", pipelinetest.Text(fmt.Sprint(i%7), fmt.Sprint(i%7)))
			}
		},
		Occurrences: 3,
	})
}

// Of several partitions whose outputs are refused in one transaction, one aborts
// it; the others must not abort the next.
func TestOneAbortForOneTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const partitions = 8
		p, c := engine(partitions, asIs)
		var there sync.WaitGroup
		there.Add(partitions)
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.Step != pipelinetest.StepSend || e.When != pipelinetest.Before || e.N == 1 || e.N > 1+partitions {
				return nil
			}
			there.Done()
			there.Wait()
			return &pipeline.SinkError{Op: "send", Verdict: pipeline.Abortable, Err: errOops}
		})
		w := c.Start(t.Context(), p, every(10*time.Second, 0, 0))
		feed(c, 0, "opens") // the transaction
		settle(time.Second)
		for i := range int32(partitions) {
			feed(c, i, fmt.Sprint("v", i))
		}
		settle(5 * time.Second)
		if n := w.Stats().Aborts; n != 1 {
			t.Errorf("%d aborts, want 1", n)
		}
		stop(t, w)
		expectTexts(t, c, "out", append(numbered("v", partitions), "opens")...)
	})
}

// What was sent by a Send that then failed must not be committed: its position is not.
// A commit may come between the failure and the abort.
func TestNothingIsCommittedAfterAFailedSend(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const interval = 100 * time.Millisecond
		p, c := engine(3, asIs)
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.Step != pipelinetest.StepSend || e.When != pipelinetest.After {
				return nil
			}
			switch e.N {
			case 2:
				time.Sleep(interval) // fake time
				return &pipeline.SinkError{Op: "send", Verdict: pipeline.Abortable, Err: errOops}
			case 3:
				time.Sleep(interval * 6 / 5)
			}
			return nil
		})
		w := c.Start(t.Context(), p, every(interval, 0, 0))
		feed(c, 0, "opens") // the transaction
		settle(interval / 10)
		feed(c, 0, numbered("a", 5)...)
		feed(c, 1, numbered("b", 5)...)
		// Two are being sent. The commit falls due and waits for them, then one fails and
		// waits to abort, and a third claim waits to hand over. Once the second is done,
		// the scheduler mostly has the commit go on before the abort.
		settle(interval * 11 / 10)
		feed(c, 2, "c")
		settle(10 * time.Second)
		if n := w.Stats().Aborts; n != 1 {
			t.Errorf("%d aborts, want 1", n)
		}
		stop(t, w)
		expectTexts(t, c, "out", slices.Concat([]string{"opens", "c"}, numbered("a", 5), numbered("b", 5))...)
		expectPosition(t, c, 0, 6)
		expectPosition(t, c, 1, 5)
	})
}
