package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// bad is a call that refuses the value "bad".
func bad(_ context.Context, v string) error {
	if v == "bad" {
		return errOops
	}
	return nil
}

// What is finished before the record that fails the pipeline is committed.
func TestFailCommitsWhatIsFinished(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(bad), pipeline.OnError(pipeline.Fail))
		feed(c, 0, "v0", "v1", "v2", "bad", "v4")
		err := c.Run(t.Context(), p, every(10*time.Second, 0, 0))
		se, ok := errors.AsType[*pipeline.StageError](err)
		if !ok || se.Stage != "calls" || se.Pipeline != "test" || !errors.Is(err, errOops) {
			t.Fatalf("got %v", err)
		}
		if want := (pipeline.Origin{Topic: "in", Offset: 3}); se.Origin != want {
			t.Errorf("the error is of %v, want %v", se.Origin, want)
		}
		expectPosition(t, c, 0, 3)
		expectTexts(t, c, "out", "v0", "v1", "v2")
		if err := c.Run(t.Context(), p); !errors.Is(err, errOops) {
			t.Errorf("the next start got %v", err)
		}
		expectPosition(t, c, 0, 3)
	})
}

func TestDeadLettersAreOfTheTransaction(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return build(calls(bad), pipeline.DeadLetter("dlq")) },
		Feed: func(c *pipelinetest.Cluster) {
			feed(c, 0, "a", "bad", "b", "bad", "c")
			feed(c, 1, "bad", "d")
		},
		Check: func(c *pipelinetest.Cluster) error {
			if n := len(c.DeadLetters("dlq")); n != 3 {
				return errors.New("want 3 dead letters")
			}
			return nil
		},
		Steps: []pipelinetest.Step{pipelinetest.StepSend, pipelinetest.StepOffsets, pipelinetest.StepCommit},
	})
}

// small is a cluster whose brokers take records of n bytes only, in these topics.
func small(p *pipeline.Pipeline, n int, topics ...string) *pipelinetest.Cluster {
	all := pipelinetest.TopicsOf(p, 1)
	for i := range all {
		if slices.Contains(topics, all[i].Name) {
			all[i].MaxMessageBytes = n
		}
	}
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: all})
}

// A record that the cluster refuses aborts the transaction, and its replay meets
// the policy.
func TestARefusedRecordBecomesADeadLetter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := engine(1, asIs)
		c := small(p, 300, "out")
		large := strings.Repeat("x", 400)
		feed(c, 0, "v0", large, "v2")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", "v0", "v2")
		letters := c.DeadLetters("dlq")
		if len(letters) != 1 || letters[0].Stage != "out" || letters[0].From.Offset != 1 || string(letters[0].Value) != large ||
			!strings.Contains(letters[0].Error, pipeline.ErrTooLarge.Error()) {
			t.Errorf("dead letters: %+v", letters)
		}
		expectPosition(t, c, 0, 3)
	})
}

func TestARefusedRecordFailsByDefault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := engine(1, asIs, pipeline.OnError(pipeline.Fail))
		c := small(p, 300, "out")
		feed(c, 0, "v0", strings.Repeat("x", 400), "v2")
		err := c.Run(t.Context(), p)
		if se, ok := errors.AsType[*pipeline.StageError](err); !ok || !errors.Is(err, pipeline.ErrTooLarge) || se.Origin.Offset != 1 {
			t.Errorf("got %v", err)
		}
		expectTexts(t, c, "out", "v0")
		expectPosition(t, c, 0, 1)
	})
}

// A dead letter that is refused as well is never dropped.
func TestARefusedDeadLetterFailsThePipeline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := engine(1, asIs)
		c := small(p, 300, "out", "dlq")
		feed(c, 0, "v0", strings.Repeat("x", 400), "v2")
		err := c.Run(t.Context(), p)
		se, ok := errors.AsType[*pipeline.StageError](err)
		if !ok || !errors.Is(err, pipeline.ErrDeadLetterTooLarge) || se.Origin.Offset != 1 {
			t.Errorf("got %v, want ErrDeadLetterTooLarge at offset 1", err)
		}
		if got := position(c, 0); got > 1 {
			t.Errorf("committed to %d, past the record", got)
		}
	})
}

// A partitioner that chooses what there is not fails its record only.
func TestAPartitionOutsideTheTopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"))
		wrong := pipeline.PartitionerFunc(func(_ string, key, _ []byte, partitions int32) int32 {
			if string(key) == "v1" {
				return partitions
			}
			return 0
		})
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String(), pipeline.PartitionBy(wrong))
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		feed(c, 0, "v0", "v1", "v2")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", "v0", "v2")
		expectTexts(t, c, "dlq", "v1")
	})
}

// The limit is of a minute, not of the run.
func TestDeadLetterLimitInFakeTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(bad), pipeline.DeadLetterLimit(3))
		w := c.Start(t.Context(), p)
		for range 4 {
			feed(c, 0, "bad", "bad", "bad")
			settle(61 * time.Second)
		}
		feed(c, 0, "bad", "bad", "bad", "bad")
		if err := w.Wait(); !errors.Is(err, pipeline.ErrDeadLetterLimit) {
			t.Errorf("got %v", err)
		}
		if n := len(c.DeadLetters("dlq")); n != 15 {
			t.Errorf("%d dead letters, want 15", n)
		}
	})
}
