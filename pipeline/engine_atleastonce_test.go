package pipeline_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// atLeastOnce asks for the weaker guarantee.
var atLeastOnce = pipelinetest.Engine(pipeline.Require(pipeline.AtLeastOnce))

// Positions are committed only after everything before them is acknowledged.
func TestAtLeastOnceFlushesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, asIs)
		feed(c, 0, numbered("v", 50)...)
		acknowledged := 0
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			switch {
			case e.Step == pipelinetest.StepFlush && e.When == pipelinetest.After:
				acknowledged = len(c.Records("out"))
			case e.Step == pipelinetest.StepOffsets && e.When == pipelinetest.Before:
				for _, o := range e.Offsets {
					if o.Next > int64(acknowledged) {
						t.Errorf("%d is committed, %d records are acknowledged", o.Next, acknowledged)
					}
				}
			}
			return nil
		})
		if err := c.Run(t.Context(), p, atLeastOnce, every(0, 5, 0)); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", numbered("v", 50)...)
		expectPosition(t, c, 0, 50)
		if got := steps(c, pipelinetest.StepInit, pipelinetest.StepBegin, pipelinetest.StepCommit); got != "" {
			t.Errorf("at least once has no transactions, but there were %s", got)
		}
	})
}

// A failure begins a new session; nothing is lost.
func TestAtLeastOnceLosesNothing(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return build(calls(takes(10 * time.Millisecond))) },
		Feed: func(c *pipelinetest.Cluster) {
			feed(c, 0, numbered("a", 30)...)
			feed(c, 1, numbered("b", 30)...)
		},
		Options:     []pipelinetest.Option{atLeastOnce},
		AtLeastOnce: true,
		Occurrences: 3,
	})
}

// Retriable defers a commit of positions, and nothing else: records that a flush
// reports as not written are gone, however the error is marked.
func TestAtLeastOnceRetriable(t *testing.T) {
	for _, step := range []pipelinetest.Step{pipelinetest.StepFlush, pipelinetest.StepOffsets} {
		t.Run(string(step), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(1, asIs)
				feed(c, 0, "v")
				c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
					if e.Step == step && e.When == pipelinetest.Before && e.N == 1 {
						return pipeline.Retriable(errOops)
					}
					return nil
				})
				w := c.Start(t.Context(), p, atLeastOnce)
				settle(10 * time.Second)
				stop(t, w)
				expectTexts(t, c, "out", "v")
				expectPosition(t, c, 0, 1)
				var want string
				if step == pipelinetest.StepFlush {
					want = "fetch-committed flush fetch-committed flush offsets"
				} else {
					want = "fetch-committed flush offsets flush offsets"
				}
				if got := steps(c, pipelinetest.StepFetch, pipelinetest.StepFlush, pipelinetest.StepOffsets); got != want {
					t.Errorf("steps %s, want %s", got, want)
				}
			})
		})
	}
}

// A member that is of the group no more cannot commit, at least once either.
func TestAtLeastOnceZombie(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, calls(takes(20*time.Millisecond)))
		feed(c, 0, numbered("a", 50)...)
		feed(c, 1, numbered("b", 50)...)
		w := c.Start(t.Context(), p, atLeastOnce, pipelinetest.Instance("zombie"))
		settle(300 * time.Millisecond)
		w.Freeze()
		if err := c.Run(t.Context(), p, atLeastOnce, pipelinetest.Instance("heir")); err != nil {
			t.Fatal(err)
		}
		w.Thaw()
		settle(time.Second)
		stop(t, w)
		got := slices.Compact(texts(c, "out"))
		if want := append(numbered("a", 50), numbered("b", 50)...); len(got) != len(want) {
			t.Errorf("%d different records, want %d", len(got), len(want))
		}
		expectForward(t, c)
	})
}
