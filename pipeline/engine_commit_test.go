package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

func every(interval time.Duration, records, bytes int64) pipelinetest.Option {
	return pipelinetest.Engine(pipeline.CommitEvery(interval, records, bytes))
}

func stop(t *testing.T, w *pipelinetest.Worker) {
	t.Helper()
	if err := w.Stop(); err != nil {
		t.Errorf("an orderly stop returned %v", err)
	}
}

func TestCommitByInterval(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		w := c.Start(t.Context(), p, every(10*time.Second, 0, 0))
		feed(c, 0, numbered("v", 25)...)
		settle(9 * time.Second)
		expectPosition(t, c, 0, 0)
		settle(2 * time.Second)
		expectPosition(t, c, 0, 25)
		if open := c.OpenTransactions(); len(open) > 0 {
			t.Errorf("with nothing to do, %q has a transaction open", open)
		}
		settle(5 * time.Minute)
		if n := len(c.Commits()); n != 1 {
			t.Errorf("%d commits, want 1: nothing came after the first", n)
		}
		stop(t, w)
	})
}

func TestCommitByRecords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		w := c.Start(t.Context(), p, every(time.Hour, 10, 0))
		feed(c, 0, numbered("v", 25)...)
		settle(time.Second)
		if got := position(c, 0); got < 20 {
			t.Errorf("committed to %d, long before the interval; want 20 at least", got)
		}
		stop(t, w)
		expectPosition(t, c, 0, 25)
		expectTexts(t, c, "out", numbered("v", 25)...)
	})
}

func TestCommitByBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		w := c.Start(t.Context(), p, every(time.Hour, 0, 1000))
		c.Feed("in", pipelinetest.Text("k", strings.Repeat("x", 400))) // in and out: 802 bytes
		settle(time.Second)
		expectPosition(t, c, 0, 0)
		c.Feed("in", pipelinetest.Text("k", strings.Repeat("x", 400)))
		settle(time.Second)
		expectPosition(t, c, 0, 2)
		stop(t, w)
	})
}

// A busy partition, whose records end transactions before their interval is over,
// must not keep the interval from ever ending: stages with state wait for it.
func TestABusyPartitionDoesNotStarveStagesWithState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test")
		pipeline.To(pipeline.From(p, "busy", serde.String()), "out", serde.String())
		pipeline.To(dedupe(true, nil)(pipeline.From(p, "in", serde.String())), "out", serde.String())
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		w := c.Start(t.Context(), p, every(100*time.Millisecond, 1, 0))
		feed(c, 0, "waits")
		for range 40 {
			c.Feed("busy", pipelinetest.Text("k", "v"))
			settle(50 * time.Millisecond)
		}
		expectPosition(t, c, 0, 1)
		stop(t, w)
	})
}

// Positions are committed, too, when a filter has dropped everything.
func TestCommitWithoutOutputs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(func(context.Context, string) error { return errOops }), pipeline.OnError(pipeline.Skip))
		feed(c, 0, numbered("v", 5)...)
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out")
		expectPosition(t, c, 0, 5)
	})
}

// The commit barrier never waits for a chain in flight.
func TestABlockedPartitionHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		open := make(chan struct{})
		p, c := engine(2, calls(func(_ context.Context, v string) error {
			if v == "blocks" {
				<-open
			}
			return nil
		}))
		feed(c, 0, "a0", "a1")
		w := c.Start(t.Context(), p)
		settle(time.Second)
		feed(c, 0, "blocks", "a3")
		feed(c, 1, numbered("b", 30)...)
		settle(time.Second)
		expectPosition(t, c, 0, 2)
		expectPosition(t, c, 1, 30)
		if ids := c.OpenTransactions(); len(ids) > 0 {
			t.Errorf("a partition waits, and %q has a transaction open", ids)
		}
		settle(time.Hour) // much longer than any time-out
		feed(c, 1, "b30")
		settle(time.Second)
		expectPosition(t, c, 1, 31)
		close(open)
		settle(time.Second)
		expectPosition(t, c, 0, 4)
		stop(t, w)
		expectTexts(t, c, "out", append(numbered("b", 31), "a0", "a1", "blocks", "a3")...)
	})
}

// What is finished before a record that waits for what is Retriable is committed.
func TestARetriableWaitHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var up atomic.Bool
		p, c := engine(2, calls(func(_ context.Context, v string) error {
			if v == "needs" && !up.Load() {
				return pipeline.Retriable(errOops)
			}
			return nil
		}))
		feed(c, 0, "a0", "a1", "needs", "a3") // one batch
		feed(c, 1, numbered("b", 5)...)
		w := c.Start(t.Context(), p)
		settle(time.Minute)
		expectPosition(t, c, 0, 2)
		expectPosition(t, c, 1, 5)
		expectTexts(t, c, "dlq")
		if ids := c.OpenTransactions(); len(ids) > 0 {
			t.Errorf("a partition waits, and %q has a transaction open", ids)
		}
		if n := w.Stats().Waiting; n != 1 {
			t.Errorf("%d partitions wait, want 1", n)
		}
		up.Store(true)
		settle(10 * time.Second)
		expectPosition(t, c, 0, 4)
		if n := w.Stats().Waiting; n != 0 {
			t.Errorf("%d partitions wait, want 0", n)
		}
		stop(t, w)
		expectTexts(t, c, "out", "a0", "a1", "needs", "a3", "b0", "b1", "b2", "b3", "b4")
	})
}

// What is read and not committed is bounded in bytes, however slow the sink is.
func TestMemoryIsBoundedWhenTheSinkIsSlow(t *testing.T) {
	for _, step := range []pipelinetest.Step{pipelinetest.StepSend, pipelinetest.StepCommit} {
		t.Run(string(step), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const bound, batch, size = 20_000, 10, 100
				p, _ := engine(1, asIs)
				c := pipelinetest.NewCluster(pipelinetest.Config{
					Topics: pipelinetest.TopicsOf(p, 1), BatchRecords: batch, TransactionTimeout: 2 * time.Hour,
				})
				open := make(chan struct{})
				c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
					if e.Step == step && e.When == pipelinetest.Before {
						<-open
					}
					return nil
				})
				for range 2000 {
					c.Feed("in", pipelinetest.Text("", strings.Repeat("x", size)))
				}
				w := c.Start(t.Context(), p, every(time.Hour, 0, bound))
				settle(time.Minute)
				delivered := 0
				for _, e := range c.Trace() {
					if e.Step == pipelinetest.StepDeliver && e.When == pipelinetest.Before {
						delivered += e.Records
					}
				}
				// The bound, reached by the last batch of it, and three more: one
				// in the chain, one queued, one held by the source.
				if limit := bound + 4*batch*size; delivered*size > limit {
					t.Errorf("%d bytes were read while the sink was stuck, want at most %d", delivered*size, limit)
				}
				close(open)
				settle(time.Minute)
				stop(t, w)
				if n := len(c.Records("out")); n != 2000 {
					t.Errorf("%d records, want 2000", n)
				}
			})
		})
	}
}

// Commits that take longer than the interval between them do not make a stage with
// state commit each record alone, and so fall behind for ever.
func TestSlowCommitsDoNotBecomeMany(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const records = 1000
		p, _ := engine(1, func(s stream) stream { return calls(takes(time.Millisecond))(dedupe(false, nil)(s)) })
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1), BatchRecords: 250})
		feed(c, 0, numbered("v", records)...)
		commits := 0
		holdCommits(c, 3*pipeline.DefaultCommitInterval, func() bool { commits++; return true })
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if commits > records/20 {
			t.Errorf("%d records took %d commits", records, commits)
		}
		expectTexts(t, c, "out", numbered("v", records)...)
	})
}

// When commits take longer than their interval, each is still one of all claims: none
// waits for a commit of a few others again and again.
func TestSlowCommitsAreOfAllClaims(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const partitions, records = 50, 20
		p := build(dedupe(false, nil))
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions)})
		commits := 0
		holdCommits(c, 3*pipeline.DefaultCommitInterval, func() bool { commits++; return true })
		go func() {
			for n := range records { // for two seconds
				for part := range int32(partitions) {
					feed(c, part, fmt.Sprintf("%d of %d", n, part))
				}
				time.Sleep(pipeline.DefaultCommitInterval)
			}
		}()
		w := c.Start(t.Context(), p)
		began := time.Now()
		for len(texts(c, "out")) < partitions*records {
			time.Sleep(pipeline.DefaultCommitInterval)
			if time.Since(began) > time.Minute {
				t.Fatalf("%d outputs after a minute", len(texts(c, "out")))
			}
		}
		if most := 5 + 2*time.Second/(4*pipeline.DefaultCommitInterval); commits > int(most) {
			t.Errorf("%d commits, want up to %d", commits, most)
		}
		stop(t, w)
	})
}
