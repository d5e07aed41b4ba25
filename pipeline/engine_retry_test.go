package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// failsUntil is a call that fails for the value "fails n …" until its retry number n.
func failsUntil(ctx context.Context, v string) error {
	var n int
	if _, err := fmt.Sscanf(v, "fails %d", &n); err != nil {
		return nil
	}
	retry, _ := pipeline.RetryOf(ctx)
	if retry.Attempt < n {
		return fmt.Errorf("try %d: %w", retry.Attempt, errOops)
	}
	return nil
}

func clusterOf(p *pipeline.Pipeline, partitions int32) *pipelinetest.Cluster {
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions), BatchRecords: 10})
}

// Records come out when they are due, those behind them before, and those that are out of
// retries are dead letters which name their first place.
func TestRetryLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(failsUntil)
		c := clusterOf(p, 2)
		feed(c, 0, "a", "fails 1", "b", "fails 2", "fails 3", "c")
		began := time.Now()
		at := map[string]time.Duration{}
		w := c.Start(t.Context(), p)
		for len(at) < 5 && time.Since(began) < time.Hour {
			settle(time.Second)
			for _, v := range texts(c, "out") {
				if _, ok := at[v]; !ok {
					at[v] = time.Since(began).Truncate(10 * time.Second)
				}
			}
		}
		settle(time.Second)
		if at["a"] != 0 || at["b"] != 0 || at["c"] != 0 || at["fails 1"] != time.Minute || at["fails 2"] != 11*time.Minute {
			t.Errorf("they came out after %v", at)
		}
		expectTexts(t, c, "out", "a", "b", "c", "fails 1", "fails 2")
		letters := c.DeadLetters("dlq")
		if len(letters) != 1 {
			t.Fatalf("%d dead letters", len(letters))
		}
		l := letters[0]
		if string(l.Value) != "fails 3" || l.Retries != 2 || l.From != (pipeline.Origin{Topic: "in", Offset: 4}) || l.Error != "try 2: oops" || l.Stage != "calls" {
			t.Errorf("the dead letter is %+v", l)
		}
		s := w.Stats()
		if s.RetriedLater != 5 || s.RetriedLaterByStage["calls"] != 5 || s.DeadLetters != 1 || s.Outputs != 5 || s.Waiting != 0 {
			t.Errorf("the counters are %+v", s)
		}
		stop(t, w)
	})
}

// While a partition waits, what is finished is committed, the source may be asked how it
// stands, and nothing counts as trouble.
func TestWaitForDueHoldsUpNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(failsUntil)
		c := clusterOf(p, 1)
		due := func(d time.Duration) pipelinetest.Message {
			return pipelinetest.Text("k", "v").Header(pipeline.HeaderRetryDue, fmt.Sprint(time.Now().Add(d).UnixMilli()))
		}
		c.Feed("in.retry.10m", due(0), due(0), due(5*time.Minute), due(0))
		w := c.Start(t.Context(), p)
		settle(time.Second)
		part := pipeline.Partition{Topic: "in.retry.10m"}
		if got := c.Committed("test")[part]; got != 2 {
			t.Errorf("committed to %d, want 2", got)
		}
		if open := c.OpenTransactions(); len(open) > 0 {
			t.Errorf("transactions are open: %v", open)
		}
		s := w.Stats()
		i := slices.IndexFunc(s.Claims, func(c pipeline.PartitionStats) bool { return c.Partition == part })
		if left := time.Until(s.Claims[i].Due); left > 5*time.Minute || left < 4*time.Minute || s.Claims[i].Waiting != "" || s.Waiting != 0 {
			t.Errorf("it waits for %v, in stage %q; %d wait", left, s.Claims[i].Waiting, s.Waiting)
		}
		settle(5 * time.Minute)
		if got := c.Committed("test")[part]; got != 4 {
			t.Errorf("committed to %d, want 4", got)
		}
		if s := w.Stats(); !s.Claims[i].Due.IsZero() {
			t.Error("it waits no more")
		}
		stop(t, w)
	})
}

// A clock that is wrong cannot stall a partition for longer than the delay.
func TestWaitForDueIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(failsUntil)
		c := clusterOf(p, 1)
		c.Feed("in.retry.1m", pipelinetest.Text("k", "v").Header(pipeline.HeaderRetryDue, "99999999999999"))
		w := c.Start(t.Context(), p)
		settle(59 * time.Second)
		expectTexts(t, c, "out")
		settle(2 * time.Second)
		expectTexts(t, c, "out", "v")
		stop(t, w)
	})
}

// A pipeline stops, and a partition moves, in the middle of a wait: at once, and without
// an error. The record waits for the rest of its time with the next owner.
func TestWaitForDueEndsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(failsUntil)
		c := clusterOf(p, 1)
		feed(c, 0, "a", "fails 1")
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"))
		settle(30 * time.Second)
		b := c.Start(t.Context(), p, pipelinetest.Instance("b"))
		settle(0)
		c.Move("test", "in.retry.1m", 0, "b")
		settle(0)
		if got := c.Owner("test", "in.retry.1m", 0); got != "b" {
			t.Errorf("the owner is %q", got)
		}
		settle(20 * time.Second)
		began := time.Now()
		stop(t, b)
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("the stop took %v", took)
		}
		expectTexts(t, c, "out", "a")
		settle(11 * time.Second)
		expectTexts(t, c, "out", "a", "fails 1")
		stop(t, a)
	})
}

// An abort during the wait replays what stands before, and the wait goes on.
func TestAbortWhileWaitingForDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(failsUntil)
		c := clusterOf(p, 1)
		feed(c, 0, "fails 1")
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, N: 1, Kind: pipelinetest.Abortable})
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, N: 3, Kind: pipelinetest.Abortable}) // with the records below
		w := c.Start(t.Context(), p)
		settle(30 * time.Second)
		c.Feed("in.retry.1m", pipelinetest.Text("x", "x"))
		feed(c, 0, "b")
		settle(29 * time.Second)
		expectTexts(t, c, "out", "b")
		settle(2 * time.Second)
		expectTexts(t, c, "out", "b", "fails 1", "x")
		if n := len(c.Records("in.retry.1m")); n != 2 {
			t.Errorf("%d records are to be retried, want 2", n)
		}
		if s := w.Stats(); s.Aborts != 2 {
			t.Errorf("%d aborts, want 2", s.Aborts)
		}
		stop(t, w)
	})
}

// What a stage holds, or collects, is flushed and committed before the wait is over.
func TestStagesWithStateAreFlushedWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		batches := func(s stream) stream {
			return stages.Batch(s, "batch", stages.BatchConfig{}, func(all []string) ([]string, error) {
				return []string{strings.Join(all, "+")}, nil
			})
		}
		p := retryingAfter([]time.Duration{time.Hour}, batches)
		c := clusterOf(p, 1)
		for i, d := range []time.Duration{0, 0, time.Minute + 50*time.Millisecond, time.Minute + 51*time.Millisecond, 0} {
			c.Feed("in.retry.1h", pipelinetest.Text("k", fmt.Sprint(i)).Header(pipeline.HeaderRetryDue, fmt.Sprint(time.Now().Add(d).UnixMilli())))
		}
		w := c.Start(t.Context(), p)
		settle(time.Second)
		expectTexts(t, c, "out", "0+1")
		if got := c.Committed("test")[pipeline.Partition{Topic: "in.retry.1h"}]; got != 2 {
			t.Errorf("committed to %d, want 2", got)
		}
		settle(time.Minute)
		expectTexts(t, c, "out", "0+1", "2+3+4") // a short wait does not cut a batch
		stop(t, w)
	})
}

// A record that the sink refuses, and whose copy is refused, too, fails the pipeline rather
// than going round.
func TestRetryThatTheTopicRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := retrying(bad)
		topics := pipelinetest.TopicsOf(p, 1)
		for i := range topics {
			if topics[i].Name == "in.retry.1m" {
				topics[i].MaxMessageBytes = 200
			}
		}
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: topics})
		feed(c, 0, "a", "bad")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := c.Run(ctx, p)
		if !errors.Is(err, pipeline.ErrRetryTooLarge) || !strings.Contains(err.Error(), "in.retry.1m") {
			t.Errorf("got %v", err)
		}
	})
}

// Whatever goes wrong at whatever step: each record ends once, in the output or as a dead
// letter. The chain puts something out before it fails.
func TestRetryLaterAtEveryStep(t *testing.T) {
	for name, stage := range map[string]func(stream) stream{
		"plain": calls(failsUntil),
		"parallel": func(s stream) stream {
			return stages.ParallelCtx(s, "parallel", 3, func(ctx context.Context, v string) (string, error) { return v, failsUntil(ctx, v) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.EveryStep(t, pipelinetest.Scenario{
				Build: func() *pipeline.Pipeline {
					p := pipeline.New("test", pipeline.DeadLetter("dlq"), later)
					in := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(time.Second, 3*time.Second))
					pipeline.To(in, "before", serde.String())
					pipeline.To(stage(in), "out", serde.String())
					return p
				},
				Feed: func(c *pipelinetest.Cluster) {
					feed(c, 0, "a", "fails 1 a", "b", "fails 2 a", "fails 3 a", "c")
					feed(c, 1, "fails 3 b", "d", "fails 1 b", "fails 1 c")
				},
				Check: func(c *pipelinetest.Cluster) error {
					done := append(texts(c, "out"), texts(c, "dlq")...)
					slices.Sort(done)
					want := []string{"a", "b", "c", "d", "fails 1 a", "fails 1 b", "fails 1 c", "fails 2 a", "fails 3 a", "fails 3 b"}
					if !slices.Equal(done, want) {
						return fmt.Errorf("out and dlq have %q", done)
					}
					for _, l := range c.DeadLetters("dlq") {
						if l.Retries != 2 || l.From.Topic != "in" {
							return fmt.Errorf("a dead letter is %+v", l)
						}
					}
					return nil
				},
			})
		})
	}
}

// At least once, nothing is lost either.
func TestRetryLaterAtLeastOnceAtEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			return retryingAfter([]time.Duration{time.Second, 3 * time.Second}, calls(failsUntil))
		},
		Feed:        func(c *pipelinetest.Cluster) { feed(c, 0, "a", "fails 1", "b", "fails 3", "fails 2", "c") },
		Options:     []pipelinetest.Option{pipelinetest.Engine(pipeline.Require(pipeline.AtLeastOnce))},
		AtLeastOnce: true,
	})
}
