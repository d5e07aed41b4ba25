package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// inOrder is a pipeline whose records "number fails" fail so often, and keep the order of their keys.
func inOrder(prefix string, delays ...time.Duration) *pipeline.Pipeline {
	p := pipeline.New("in-order", pipeline.DeadLetter(prefix+"dlq"), pipeline.OnError(pipeline.RetryLater))
	in := pipeline.From(p, prefix+"in", serde.String(), pipeline.RetryInOrder(delays...))
	pipeline.To(stages.CheckCtx(in, "check", func(ctx context.Context, v string) error {
		var n, fails int
		if _, err := fmt.Sscan(v, &n, &fails); err != nil {
			return err
		}
		if retry, _ := pipeline.RetryOf(ctx); retry.Attempt < fails {
			return errors.New("not yet")
		}
		return nil
	}), prefix+"out", serde.String())
	return p
}

const orderedKeys = 50

// feedInOrder writes the records from..to, each under one of 50 keys. Of each key one in twenty fails once
// or, the later ones, too often.
func (c *cluster) feedInOrder(topic string, from, to int) {
	var records []*kgo.Record
	for i := from; i < to; i++ {
		fails := 0
		switch i / orderedKeys % 20 {
		case 3:
			fails = 1
		case 13:
			fails = 9
		}
		records = append(records, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i%orderedKeys), Value: fmt.Appendf(nil, "%d %d", i, fails)})
	}
	c.Produce(records...)
}

// checkInOrder checks that each of n records has ended once, and those of a key in their order.
func (c *cluster) checkInOrder(prefix string, n int) {
	c.t.Helper()
	last, seen, dead := map[string]int{}, map[int]bool{}, 0
	for _, topic := range []string{"out", "dlq"} {
		clear(last)
		for _, r := range c.ReadAll(prefix + topic) {
			var i, fails int
			if _, err := fmt.Sscan(string(r.Value), &i, &fails); err != nil {
				c.t.Fatal(err)
			}
			if before, ok := last[string(r.Key)]; ok && i <= before {
				c.t.Fatalf("%s: of key %s, %d comes after %d", topic, r.Key, i, before)
			}
			last[string(r.Key)] = i
			if seen[i] || (fails == 9) != (topic == "dlq") {
				c.t.Fatalf("%s has %q, seen before: %v", topic, r.Value, seen[i])
			}
			seen[i] = true
			if fails == 9 {
				dead++
			}
		}
	}
	if len(seen) != n || dead == 0 {
		c.t.Fatalf("%d records have ended, %d of them dead, want %d", len(seen), dead, n)
	}
	open := map[string]bool{}
	for _, r := range c.ReadAll(prefix + "in.retry.marks") {
		open[string(r.Key)] = r.Value != nil
		if r.Value == nil {
			delete(open, string(r.Key))
		}
	}
	if len(open) > 0 {
		c.t.Errorf("%d marks are left", len(open))
	}
}

// exerciseOrder feeds while records wait, and while one worker joins another and that one leaves.
func exerciseOrder(t *testing.T, c *cluster, cfg kafka.Config, prefix string, n int, delay time.Duration) {
	t.Helper()
	cfg.UntilEnd = false
	var stats pipeline.Stats
	cfg.Stats = &stats
	b := launch(t, inOrder(prefix, delay), cfg)
	c.feedInOrder(prefix+"in", 0, n/2)
	c.Await("the first records to be retried", func() bool { return len(c.ReadAll(prefix+"in.retry")) > 0 })
	var ofA pipeline.Stats
	cfg.Stats = &ofA
	a := launch(t, inOrder(prefix, delay), cfg)
	c.Await("the second worker's partitions", func() bool { return len(ofA.Snapshot().Partitions) > 0 })
	c.feedInOrder(prefix+"in", n/2, 3*n/4)
	c.Await("the second worker to work", func() bool { return ofA.Snapshot().Records > 0 })
	b.stop()
	a.stop() // in the midst of the rebalance
	c.feedInOrder(prefix+"in", 3*n/4, n)
	cfg.UntilEnd = true
	last := launch(t, inOrder(prefix, delay), cfg)
	checktest.Await(t, "the end", 3*patience, func() bool { // heads are retried one after the other
		select {
		case <-last.done:
			return true
		default:
			return false
		}
	})
	noError(t, last.wait(), "run")
	c.checkInOrder(prefix, n)
	s := stats.Snapshot()
	t.Logf("the first worker: %d retried later, %d behind", s.RetriedLater, s.Behind)
	if s.Behind == 0 {
		t.Error("no record had to wait behind another")
	}
}

func TestRetryInOrderWhileWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{
		topic("in", 4), topic("out", 4), topic("dlq", 1), topic("in.retry", 3),
		{Name: "in.retry.marks", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact"}},
	}})
	exerciseOrder(t, c, c.config(), "", 4_000, 10*time.Millisecond)
}
