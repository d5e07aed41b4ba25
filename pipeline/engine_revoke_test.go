package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// pair runs two workers on one cluster, a first.
func pair(t *testing.T, c *pipelinetest.Cluster, p *pipeline.Pipeline, opts ...pipelinetest.Option) (a, b *pipelinetest.Worker) {
	t.Helper()
	a = c.Start(t.Context(), p, append(opts, pipelinetest.Instance("a"))...)
	settle(0)
	b = c.Start(t.Context(), p, append(opts, pipelinetest.Instance("b"))...)
	settle(0)
	return a, b
}

// owners names the workers of the partitions of topic in.
func owners(c *pipelinetest.Cluster, partitions int32) string {
	var names []string
	for i := range partitions {
		names = append(names, c.Owner("test", "in", i))
	}
	return strings.Join(names, "")
}

// A partition that is moved is committed by the one before the other has it, and
// never after. What stays is not interrupted.
func TestCooperativeMove(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(4, calls(takes(5*time.Millisecond)))
		for i := range int32(4) {
			feed(c, i, numbered(fmt.Sprint(i, "-"), 100)...)
		}
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"), every(time.Second, 0, 0))
		settle(250 * time.Millisecond)
		if got := owners(c, 4); got != "aaaa" {
			t.Fatalf("owners are %s", got)
		}
		expectPosition(t, c, 0, 0)
		b := c.Start(t.Context(), p, pipelinetest.Instance("b"), every(time.Second, 0, 0))
		settle(50 * time.Millisecond)
		if got := owners(c, 4); got != "aabb" {
			t.Fatalf("owners are %s", got)
		}
		if position(c, 2) < 45 || position(c, 3) < 45 {
			t.Error("what was given up should be committed first")
		}
		settle(5 * time.Second)
		assigned := map[string]int{}
		for _, e := range c.Trace() {
			if e.Step == pipelinetest.StepAssign && e.When == pipelinetest.Before {
				assigned[e.Worker]++
			}
		}
		if assigned["a"] != 4 || assigned["b"] != 2 {
			t.Errorf("partitions were assigned %v times", assigned)
		}
		stop(t, b)
		stop(t, a)
		if n := len(c.Records("out")); n != 400 {
			t.Errorf("%d records, want 400", n)
		}
		expectForward(t, c)
	})
}

// A partition is taken away, and before its record is done a commit begins that takes its
// time, for which the claim has to wait. No stage is to blame: the partition goes when the
// commit has ended.
func TestRevokedWhileACommitIsSlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const slow = 50 * time.Second // RebalanceTimeout is a minute
		p, c := engine(2, calls(func(ctx context.Context, v string) error {
			if v != "p0" {
				return nil
			}
			return takes(time.Second)(ctx, v)
		}))
		a, b := pair(t, c, p, stopWithin(time.Hour))
		c.Move("test", "in", 0, "a")
		c.Move("test", "in", 1, "a")
		settle(time.Second)
		held := 0
		holdCommits(c, slow, func() bool { held++; return held == 1 })
		feed(c, 0, "p0")
		settle(time.Millisecond)
		go c.Move("test", "in", 0, "b")
		settle(time.Millisecond)
		feed(c, 1, "q0") // this is committed while p0 is under way
		settle(2 * slow)
		if got := owners(c, 2); got != "ba" || held < 2 {
			t.Errorf("owners are %s, after %d commits", got, held)
		}
		feed(c, 0, "p1")
		settle(time.Second)
		stop(t, a)
		stop(t, b)
		expectForward(t, c)
		expectTexts(t, c, "out", "p0", "p1", "q0")
	})
}

// A stage that does not heed its context is left behind when its partition is
// revoked. Whatever it does later, the worker, alive or not, commits nothing of
// that partition any more: the broker would take it.
func TestARevokedPartitionIsNeverCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stuck, busy := make(chan struct{}), make(chan struct{})
		var once sync.Once
		blocks := calls(func(_ context.Context, v string) error {
			switch v {
			case "p3":
				first := false
				once.Do(func() { first = true })
				if first { // in worker a
					<-stuck
				}
			case "q3":
				<-busy
			}
			return nil
		})
		p, c := engine(2, blocks)
		a, b := pair(t, c, p, stopWithin(time.Hour)) // so that a is alive all along
		c.Move("test", "in", 0, "a")
		c.Move("test", "in", 1, "a")
		settle(time.Second)
		if got := owners(c, 2); got != "aa" {
			t.Fatalf("owners are %s", got)
		}
		feed(c, 0, "p0", "p1", "p2", "p3", "p4")
		feed(c, 1, "q0", "q1", "q2", "q3", "q4")
		settle(time.Second)

		c.Move("test", "in", 0, "b")
		settle(45 * time.Second) // RebalanceTimeout is a minute, a quarter of it for the stage
		if got := owners(c, 2); got[0] != 'b' {
			t.Fatalf("owners are %s", got)
		}
		settle(time.Second)
		expectPosition(t, c, 0, 5)

		close(stuck) // and a's stage returns, with a still at work on the other partition
		settle(time.Millisecond)
		close(busy)
		err := a.Wait()
		if se, ok := errors.AsType[*pipeline.StageError](err); !ok || !errors.Is(err, pipeline.ErrStuck) || se.Stage != "calls" {
			t.Errorf("a returned %v, want ErrStuck in stage calls", err)
		}
		settle(10 * time.Second)
		stop(t, b)
		expectForward(t, c)
		expectTexts(t, c, "out", "p0", "p1", "p2", "p3", "p4", "q0", "q1", "q2", "q3", "q4")
		gone := false
		for _, commit := range c.Commits() {
			for _, o := range commit.Offsets {
				gone = gone || o.Partition.Partition == 0 && commit.Worker == "b"
				if gone && o.Partition.Partition == 0 && commit.Worker == "a" {
					t.Errorf("a committed %v after it was b's", o)
				}
			}
		}
	})
}

// Release returns only when the transaction that holds the partition's input has
// ended.
func TestAReleasedPartitionHasNothingOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, asIs)
		a, b := pair(t, c, p, every(10*time.Second, 0, 0))
		feed(c, 0, numbered("v", 7)...)
		settle(time.Second)
		expectPosition(t, c, 0, 0)
		from, to := a, "b"
		if c.Owner("test", "in", 0) == "b" {
			from, to = b, "a"
		}
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.Step == pipelinetest.StepFetch && e.Partition.Partition == 0 && len(c.OpenTransactions()) > 0 {
				t.Error("the next owner was let in with the partition's transaction open")
			}
			return nil
		})
		c.Move("test", "in", 0, to)
		settle(time.Second)
		expectPosition(t, c, 0, 7)
		if got := from.Stats().Partitions; slices.Contains(got, pipeline.Partition{Topic: "in"}) {
			t.Errorf("it still has %v", got)
		}
		stop(t, a)
		stop(t, b)
		expectTexts(t, c, "out", numbered("v", 7)...)
	})
}

// The generation may change inside a session: what is committed with is read at
// the commit.
func TestGenerationChangesInsideASession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, asIs)
		w := c.Start(t.Context(), p)
		for i := range 20 {
			feed(c, int32(i%2), fmt.Sprint("v", i))
			c.Rebalance("test")
			settle(40 * time.Millisecond)
		}
		settle(time.Second)
		if s := w.Stats(); s.Sessions != 1 || s.Aborts != 0 || s.Committed != 20 {
			t.Errorf("%d sessions, %d aborts, %d committed; want 1, 0, 20", s.Sessions, s.Aborts, s.Committed)
		}
		stop(t, w)
		expectTexts(t, c, "out", numbered("v", 20)...)
	})
}

// A worker that was stopped for longer than its session goes on where it was, and
// its commits are refused.
func TestZombie(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, calls(takes(20*time.Millisecond)))
		feed(c, 0, numbered("a", 50)...)
		feed(c, 1, numbered("b", 50)...)
		w := c.Start(t.Context(), p, pipelinetest.Instance("zombie"))
		settle(330 * time.Millisecond)
		w.Freeze()
		if err := c.Run(t.Context(), p, pipelinetest.Instance("heir")); err != nil {
			t.Fatal(err)
		}
		if w.Stats().Aborts == 0 {
			t.Error("the zombie should have tried to commit")
		}
		w.Thaw()
		settle(time.Second)
		feed(c, 0, "end")
		settle(time.Second)
		stop(t, w)
		expectTexts(t, c, "out", append(append(numbered("a", 50), numbered("b", 50)...), "end")...)
		expectForward(t, c)
	})
}

// Workers come and go, in order and by crashing, and nothing is lost or doubled.
func TestWorkersComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(6, calls(takes(10*time.Millisecond)))
		var want []string
		for i := range int32(6) {
			want = append(want, numbered(fmt.Sprint(i, "-"), 200)...)
			feed(c, i, numbered(fmt.Sprint(i, "-"), 200)...)
		}
		a, b := pair(t, c, p)
		settle(170 * time.Millisecond)
		d := c.Start(t.Context(), p, pipelinetest.Instance("d"))
		settle(170 * time.Millisecond)
		b.Crash()
		settle(170 * time.Millisecond)
		b = c.Start(t.Context(), p, pipelinetest.Instance("b"))
		settle(170 * time.Millisecond)
		stop(t, a)
		settle(170 * time.Millisecond)
		d.LoseSession()
		settle(170 * time.Millisecond)
		b.Crash() // for good: its session and its transaction time out
		settle(2 * time.Minute)
		if !c.Finished(p) {
			t.Error("not everything is committed")
		}
		stop(t, d)
		expectTexts(t, c, "out", want...)
		expectForward(t, c)
	})
}

func TestCallbacks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var calls []string
		note := func(what string) func(pipeline.Partition) {
			return func(part pipeline.Partition) {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, fmt.Sprint(what, " ", part))
			}
		}
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		revoked := note("revoked")
		err := c.Run(t.Context(), p, pipelinetest.Engine(
			pipeline.OnAssigned(note("assigned")),
			pipeline.OnRevoked(func(part pipeline.Partition) {
				expectPosition(t, c, 0, 1)
				revoked(part)
			})))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(calls, ", "); got != "assigned in[0], revoked in[0]" {
			t.Errorf("calls: %s", got)
		}
	})
}
