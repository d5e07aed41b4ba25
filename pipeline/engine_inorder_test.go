package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// inOrder is a pipeline from topic in to topic out that retries in order, whose stage calls f.
func inOrder(f func(ctx context.Context, v string) error, delays ...time.Duration) *pipeline.Pipeline {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"), later)
	pipeline.To(calls(f)(pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder(delays...))), "out", serde.String())
	return p
}

// keyed feeds values to a partition of topic in; the key is what stands before the first space.
func keyed(c *pipelinetest.Cluster, partition int32, values ...string) {
	for _, v := range values {
		key, _, _ := strings.Cut(v, " ")
		c.Feed("in", pipelinetest.Text(key, v).On(partition))
	}
}

// failsInOrder is failsUntil for values with a key and a number before: "a 1 fails 2".
func failsInOrder(ctx context.Context, v string) error {
	words := strings.SplitN(v, " ", 3)
	return failsUntil(ctx, words[len(words)-1])
}

// expectInOrder checks that the values of each key come out in the order of their numbers.
func expectInOrder(c *pipelinetest.Cluster, topic string) error {
	last := map[string]int{}
	for _, v := range pipelinetest.Values(c, topic, serde.String()) {
		var key string
		var n int
		if _, err := fmt.Sscanf(v, "%s %d", &key, &n); err != nil {
			return err
		}
		if n <= last[key] {
			return fmt.Errorf("of key %s, %d comes after %d", key, n, last[key])
		}
		last[key] = n
	}
	return nil
}

// openMarks are the keys of marks that are not deleted.
func openMarks(c *pipelinetest.Cluster) (open []string) {
	last := map[string]bool{}
	for _, r := range c.Records("in.retry.marks") {
		last[string(r.Key)] = r.Value != nil
	}
	for k, isOpen := range last {
		if isOpen {
			open = append(open, k)
		}
	}
	slices.Sort(open)
	return open
}

// While a record of a key waits, those behind it wait, and other keys and records without one
// flow. What is behind is tried at once when its turn comes.
func TestRetryInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Minute, 10*time.Minute)
		c := clusterOf(p, 1)
		keyed(c, 0, "a 1", "a 2 fails 2", "b 1", "a 3", "a 4 fails 1", "b 2", "a 5")
		c.Feed("in", pipelinetest.Bytes(nil, []byte("- 1")).On(0))
		w := c.Start(t.Context(), p)
		settle(time.Second)
		expectTexts(t, c, "out", "a 1", "b 1", "b 2", "- 1")
		if got, want := openMarks(c), []string{"0|1", "0|3", "0|4", "0|6"}; !slices.Equal(got, want) {
			t.Errorf("marks %q, want %q", got, want)
		}
		s := w.Stats()
		if s.RetriedLater != 1 || s.Behind != 3 || s.Tables["in.retry.marks"].Entries != 4 || s.Waiting != 0 {
			t.Errorf("retried %d, behind %d, marks %+v, %d wait", s.RetriedLater, s.Behind, s.Tables, s.Waiting)
		}
		settle(2 * time.Minute) // the first retry fails, too
		keyed(c, 0, "a 6", "b 3")
		settle(time.Second)
		expectTexts(t, c, "out", "a 1", "b 1", "b 2", "- 1", "b 3")
		if part := w.Stats().Claims[1]; part.Topic != "in.retry" || time.Until(part.Due) < 8*time.Minute || time.Until(part.Due) > 9*time.Minute {
			t.Errorf("the claim is %+v", part)
		}
		settle(9 * time.Minute)
		expectTexts(t, c, "out", "a 1", "b 1", "b 2", "- 1", "b 3", "a 2 fails 2", "a 3") // a 4 has failed at once and waits for its minute
		settle(time.Minute)
		keyed(c, 0, "a 7")
		settle(time.Second)
		expectTexts(t, c, "out", "a 1", "b 1", "b 2", "- 1", "b 3", "a 2 fails 2", "a 3", "a 4 fails 1", "a 5", "a 6", "a 7")
		if err := expectInOrder(c, "out"); err != nil {
			t.Error(err)
		}
		if s := w.Stats(); s.Behind != 4 || s.Tables["in.retry.marks"].Entries != 0 || len(openMarks(c)) != 0 {
			t.Errorf("behind %d, marks %+v, %q: the key waits no more", s.Behind, s.Tables, openMarks(c))
		}
		stop(t, w)
	})
}

// Topics of other names do the same.
func TestRetryInOrderTopics(t *testing.T) {
	for want, names := range map[string][2]string{"again again.keys": {"again", "again.keys"}, "in.retry keys": {"", "keys"}, "again in.retry.marks": {"again", ""}} {
		inBubble(t, func(t *testing.T) {
			p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
			in := pipeline.From(p, "in", serde.String(), pipeline.RetryInOrderTopics(names[0], names[1], time.Minute))
			pipeline.To(calls(failsInOrder)(in), "out", serde.String())
			c := clusterOf(p, 1)
			keyed(c, 0, "a 1 fails 1", "a 2", "b 1")
			w := c.Start(t.Context(), p)
			settle(time.Second)
			expectTexts(t, c, "out", "b 1")
			topic, marks, _ := strings.Cut(want, " ")
			if n, m := len(c.Records(topic)), len(c.Records(marks)); n != 2 || m != 2 {
				t.Errorf("%d records in %s and %d in %s", n, topic, m, marks)
			}
			settle(time.Minute)
			expectTexts(t, c, "out", "b 1", "a 1 fails 1", "a 2")
			stop(t, w)
		})
	}
}

// What is out of retries becomes a dead letter, and those behind it go on. Records without a key
// are retried, too, and mark nothing.
func TestRetryInOrderGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Minute, time.Minute)
		c := clusterOf(p, 1)
		keyed(c, 0, "a 1 fails 3", "a 2", "a 3 fails 9")
		c.Feed("in", pipelinetest.Bytes(nil, []byte("- 1 fails 1")).On(0))
		w := c.Start(t.Context(), p)
		settle(time.Hour)
		expectTexts(t, c, "out", "a 2", "- 1 fails 1")
		letters := c.DeadLetters("dlq")
		if len(letters) != 2 {
			t.Fatalf("%d dead letters", len(letters))
		}
		for i, l := range letters {
			if l.From != (pipeline.Origin{Topic: "in", Offset: int64(i * 2)}) || l.Retries != 2 || l.Stage != "calls" || l.Error != "try 2: oops" {
				t.Errorf("dead letter %d is %+v", i, l)
			}
		}
		if open := openMarks(c); len(open) > 0 {
			t.Errorf("marks are left: %q", open)
		}
		for _, r := range c.Records("in.retry.marks") {
			if k := string(r.Key); k != "0|0" && k != "0|1" && k != "0|2" {
				t.Errorf("a mark of %q", k)
			}
		}
		stop(t, w)
	})
}

// What stands in the retry topic that is not of the input leaves the marks alone.
func TestForeignRecordsInAnOrderedRetryTopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Minute)
		c := clusterOf(p, 1)
		c.Feed("in.retry", pipelinetest.Text("k", "k 1"))
		c.Feed("in.retry.marks", pipelinetest.Text("nonsense", "x"), pipelinetest.Text("1|x", "x"))
		w := c.Start(t.Context(), p)
		settle(time.Second)
		expectTexts(t, c, "out", "k 1")
		if n := len(c.Records("in.retry.marks")); n != 2 {
			t.Errorf("%d records among the marks", n)
		}
		stop(t, w)
	})
}

// A key that an aborted transaction made wait does not wait any more, if its record comes through
// in the replay.
func TestAbortForgetsWhoWaits(t *testing.T) {
	for _, kind := range []pipelinetest.Kind{pipelinetest.Abortable, pipelinetest.Ambiguous} {
		t.Run(kind.String(), func(t *testing.T) { abortForgetsWhoWaits(t, kind) })
	}
}

func abortForgetsWhoWaits(t *testing.T, kind pipelinetest.Kind) {
	inBubble(t, func(t *testing.T) {
		var tries atomic.Int32
		p := inOrder(func(_ context.Context, v string) error {
			if v == "a 1" && tries.Add(1) == 1 {
				return errOops
			}
			return nil
		}, time.Minute)
		c := clusterOf(p, 1)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, N: 1, Kind: kind})
		keyed(c, 0, "a 1", "b 1", "a 2")
		w := c.Start(t.Context(), p)
		settle(time.Second)
		keyed(c, 0, "a 3")
		settle(time.Second)
		expectTexts(t, c, "out", "a 1", "b 1", "a 2", "a 3")
		if s := w.Stats(); tries.Load() != 2 || s.Tables["in.retry.marks"].Entries != 0 || len(c.Records("in.retry")) != 0 {
			t.Errorf("%d tries, %+v", tries.Load(), s.Tables)
		}
		stop(t, w)
	})
}

// An abort after a commit keeps the key waiting whose record was committed, also while the topic has
// not said so.
func TestAbortKeepsWhoWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Minute)
		c := clusterOf(p, 1)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, N: 2, Kind: pipelinetest.Abortable})
		source, sink := c.Ends()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- pipeline.Run(ctx, p, slow{source.(catcher), 30 * time.Second}, sink, pipeline.Logger(silent))
		}()
		keyed(c, 0, "a 1 fails 1")
		settle(time.Second)
		keyed(c, 0, "b 1", "a 2")
		settle(time.Second)
		expectTexts(t, c, "out", "b 1")
		settle(2 * time.Minute)
		if err := expectInOrder(c, "out"); err != nil {
			t.Error(err)
		}
		expectTexts(t, c, "out", "b 1", "a 1 fails 1", "a 2")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

var silent = slog.New(slog.DiscardHandler)

type catcher interface {
	pipeline.TableCatcher
	pipeline.Source
}

// slow is a source whose tables are behind their topics.
type slow struct {
	catcher
	by time.Duration
}

func (s slow) Follow(ctx context.Context, topic string, apply func(context.Context, *pipeline.Raw) error, loaded func()) error {
	return s.catcher.Follow(ctx, topic, func(ctx context.Context, r *pipeline.Raw) error {
		select {
		case <-time.After(s.by):
			return apply(ctx, r)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, loaded)
}

// Who is given a partition knows which keys wait there before it processes a record, however far
// its table is behind; and a partition that waits for that goes at once.
func TestWhoTakesOverKnowsWhoWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, 20*time.Minute)
		c := clusterOf(p, 1)
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"))
		settle(time.Second)
		source, sink := c.Ends(pipelinetest.Instance("b"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- pipeline.Run(ctx, p, slow{source.(catcher), time.Minute}, sink, pipeline.Logger(silent))
		}()
		settle(time.Second)
		c.Move("test", "in", 0, "a")
		settle(time.Second)
		keyed(c, 0, "a 1 fails 1", "b 1 fails 1")
		settle(time.Second)
		c.Move("test", "in", 0, "b")
		settle(time.Second)
		keyed(c, 0, "a 2", "b 2", "c 1")
		settle(30 * time.Second)
		expectTexts(t, c, "out")
		c.Move("test", "in", 0, "a")
		settle(0)
		if owner := c.Owner("test", "in", 0); owner != "a" {
			t.Errorf("the owner is %q", owner)
		}
		c.Move("test", "in", 0, "b")
		settle(5 * time.Minute)
		settle(20 * time.Minute)
		expectTexts(t, c, "out", "a 1 fails 1", "a 2", "b 1 fails 1", "b 2", "c 1")
		if err := expectInOrder(c, "out"); err != nil {
			t.Error(err)
		}
		stop(t, a)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A clock that was wrong costs the first delay, and not one for each try.
func TestRetryInOrderAndAWrongClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Minute, time.Minute, time.Minute)
		c := clusterOf(p, 1)
		c.Feed("in.retry", pipelinetest.Text("k", "k 1 fails 3").Header(pipeline.HeaderRetryDue, "99999999999999"))
		w := c.Start(t.Context(), p)
		settle(3*time.Minute - time.Second)
		expectTexts(t, c, "out")
		settle(2 * time.Second)
		expectTexts(t, c, "out", "k 1 fails 3")
		stop(t, w)
	})
}

// A partition stops at once while its head waits to be tried again in place, and what was finished
// before is committed.
func TestRetryInPlaceHoldsUpNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := inOrder(failsInOrder, time.Hour)
		c := clusterOf(p, 1)
		c.Feed("in.retry", pipelinetest.Text("a", "a 1"), pipelinetest.Text("b", "b 1 fails 2").Header(pipeline.HeaderRetryAttempt, "0"))
		w := c.Start(t.Context(), p)
		settle(time.Second)
		expectTexts(t, c, "out", "a 1")
		if got := c.Committed("test")[pipeline.Partition{Topic: "in.retry"}]; got != 1 {
			t.Errorf("committed to %d, want 1", got)
		}
		began := time.Now()
		stop(t, w)
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("the stop took %v", took)
		}
	})
}

// A stage that holds records is refused, in either topic.
func TestRetryInOrderWithAStageThatHolds(t *testing.T) {
	for _, topic := range []string{"in", "in.retry"} {
		inBubble(t, func(t *testing.T) {
			p := pipeline.New("test", pipeline.DeadLetter("dlq"), later)
			in := pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder(time.Minute))
			pipeline.To(stages.Parallel(in, "parallel", 2, func(v string) (string, error) { return v, nil }), "out", serde.String())
			c := clusterOf(p, 1)
			c.Feed(topic, pipelinetest.Text("k", "v"))
			if err := c.Run(t.Context(), p); !errors.Is(err, pipeline.ErrOrder) || !strings.Contains(err.Error(), `stage "parallel"`) {
				t.Errorf("got %v", err)
			}
			expectTexts(t, c, "out")
		})
	}
}

// A source that does not know how far its tables are is refused.
func TestRetryInOrderNeedsACatcher(t *testing.T) {
	p := inOrder(failsInOrder, time.Minute)
	c := clusterOf(p, 1)
	source, sink := c.Ends()
	err := pipeline.Run(t.Context(), p, struct{ pipeline.Source }{source}, sink, pipeline.Logger(silent))
	if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), "RetryInOrder") {
		t.Errorf("got %v", err)
	}
}

// Whatever goes wrong at whatever step: each record ends once, those of a key in their order, and no
// mark is left.
func TestRetryInOrderAtEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return inOrder(failsInOrder, time.Second, 3*time.Second) },
		Feed: func(c *pipelinetest.Cluster) {
			keyed(c, 0, "a 1", "b 1 fails 2", "a 2 fails 1", "c 1", "b 2", "c 2 fails 3", "c 3", "b 3 fails 1", "b 4", "a 3")
			keyed(c, 1, "d 1 fails 1", "e 1", "d 2", "d 3 fails 2", "e 2", "d 4")
		},
		OnlyCheck: true,
		Check: func(c *pipelinetest.Cluster) error {
			want := []string{"a 1", "a 2 fails 1", "a 3", "b 1 fails 2", "b 2", "b 3 fails 1", "b 4", "c 1", "c 3", "d 1 fails 1", "d 2", "d 3 fails 2", "d 4", "e 1", "e 2"}
			if got := texts(c, "out"); !slices.Equal(got, want) {
				return fmt.Errorf("out has %q", got)
			}
			if got := texts(c, "dlq"); !slices.Equal(got, []string{"c 2 fails 3"}) {
				return fmt.Errorf("dlq has %q", got)
			}
			if open := openMarks(c); len(open) > 0 {
				return fmt.Errorf("marks are left: %q", open)
			}
			return expectInOrder(c, "out")
		},
	})
}

// Workers with a random life, as in TestSoak: each record ends once, those of a key in their order,
// and no mark is left.
func TestRetryInOrderSoak(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { soakInOrder(t, seed) })
		})
	}
}

func soakInOrder(t *testing.T, seed uint64) {
	const partitions, rounds, keys = 3, 40, 4
	rnd := rand.New(rand.NewPCG(seed, 2))
	p := inOrder(failsInOrder, 300*time.Millisecond, time.Second)
	c := clusterOf(p, partitions)
	fed := 0
	var out, dead []string
	live(t, c, p, rnd, partitions, rounds, func(part int) {
		for range rnd.IntN(20) {
			fed++
			fails := max(0, rnd.IntN(30)-26) // 0 as a rule, 3 is too often
			v := fmt.Sprintf("%d-%d %d fails %d", part, rnd.IntN(keys), fed, fails)
			keyed(c, int32(part), v)
			if fails == 3 {
				dead = append(dead, v)
			} else {
				out = append(out, v)
			}
		}
	})
	expectForward(t, c)
	expectTexts(t, c, "out", out...)
	expectTexts(t, c, "dlq", dead...)
	for _, topic := range []string{"out", "dlq"} {
		if err := expectInOrder(c, topic); err != nil {
			t.Error(err)
		}
	}
	if open := openMarks(c); len(open) > 0 {
		t.Errorf("marks are left: %q", open)
	}
	if n := len(c.Records("in.retry")); len(dead) == 0 || n < len(dead) {
		t.Errorf("%d records were retried, %d of them in vain", n, len(dead))
	}
}
