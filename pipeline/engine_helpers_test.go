package pipeline_test

import (
	"context"
	"fmt"
	"maps"
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

// inBubble runs an engine test in fake time. The bubble fails the test if a
// goroutine is left.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// engine is a pipeline "test" from topic in to topic out, dead letters to dlq,
// with one stage between; its cluster has so many partitions.
func engine(partitions int32, stage func(stream) stream, opts ...pipeline.Option) (*pipeline.Pipeline, *pipelinetest.Cluster) {
	p := build(stage, append([]pipeline.Option{pipeline.DeadLetter("dlq")}, opts...)...)
	return p, pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions), BatchRecords: 10})
}

// asIs is the stage that does nothing.
func asIs(s stream) stream { return s }

// calls is a stage that calls f for every value.
func calls(f func(ctx context.Context, v string) error) func(stream) stream {
	return func(s stream) stream { return stages.CheckCtx(s, "calls", f) }
}

// takes is a call that takes d.
func takes(d time.Duration) func(context.Context, string) error {
	return func(context.Context, string) error {
		time.Sleep(d) // fake time
		return nil
	}
}

// feed feeds values to a partition of topic in; each is also its key.
func feed(c *pipelinetest.Cluster, partition int32, values ...string) {
	for _, v := range values {
		c.Feed("in", pipelinetest.Text(v, v).On(partition))
	}
}

// numbered returns prefix0 … prefix(n-1).
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}

// texts returns the committed values of a topic, sorted.
func texts(c *pipelinetest.Cluster, topic string) []string {
	out := pipelinetest.Values(c, topic, serde.String())
	slices.Sort(out)
	return out
}

func expectTexts(t *testing.T, c *pipelinetest.Cluster, topic string, want ...string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	if got := texts(c, topic); !slices.Equal(got, want) {
		t.Errorf("topic %q has %q, want %q", topic, got, want)
	}
}

// position is the committed position of a partition of topic in.
func position(c *pipelinetest.Cluster, partition int32) int64 {
	return c.Committed("test")[pipeline.Partition{Topic: "in", Partition: partition}]
}

func expectPosition(t *testing.T, c *pipelinetest.Cluster, partition int32, want int64) {
	t.Helper()
	if got := position(c, partition); got != want {
		t.Errorf("partition %d is committed to %d, want %d", partition, got, want)
	}
}

// expectForward checks that no committed position ever goes back.
func expectForward(t *testing.T, c *pipelinetest.Cluster) {
	t.Helper()
	at := map[pipeline.Partition]int64{}
	for _, commit := range c.Commits() {
		for _, o := range commit.Offsets {
			if o.Next < at[o.Partition] {
				t.Errorf("%s took %v back from %d to %d", commit.Worker, o.Partition, at[o.Partition], o.Next)
			}
			at[o.Partition] = o.Next
		}
	}
}

// steps returns the steps that a cluster came by, those before their effect, as
// words.
func steps(c *pipelinetest.Cluster, of ...pipelinetest.Step) string {
	var words []string
	for _, e := range c.Trace() {
		if e.When == pipelinetest.Before && slices.Contains(of, e.Step) {
			words = append(words, string(e.Step))
		}
	}
	return strings.Join(words, " ")
}

// settle lets everything run until it waits, and d pass.
func settle(d time.Duration) {
	synctest.Wait()
	time.Sleep(d) // fake time
	synctest.Wait()
}

// dedupe is a stage with state: it drops values that it has seen. Its state takes
// part in the commit: restore tells whether Aborted puts it back, load, if any,
// what is known at the start.
func dedupe(restore bool, load func() []string) func(stream) stream {
	return func(s stream) stream {
		return pipeline.Apply(s, "dedupe", "dedupe", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			seen, handed, committed := map[string]bool{}, map[string]bool{}, map[string]bool{}
			sc.Hook(pipeline.Hooks{
				Assigned: func(context.Context) error {
					if load != nil {
						for _, v := range load() {
							seen[v] = true
						}
					}
					committed = maps.Clone(seen)
					return nil
				},
				BeforeCommit: func(context.Context) error {
					handed = maps.Clone(seen)
					return nil
				},
				Committed: func() { committed = handed },
				Aborted: func() {
					if restore {
						seen = maps.Clone(committed)
					}
				},
			})
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				sc.Enter()
				if seen[r.Value] {
					return nil
				}
				seen[r.Value] = true
				return next(ctx, r)
			}
		})
	}
}

// holdCommits delays commits by d for as long as while says.
func holdCommits(c *pipelinetest.Cluster, d time.Duration, while func() bool) {
	c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
		if e.Step == pipelinetest.StepCommit && e.When == pipelinetest.Before && while() {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
}
