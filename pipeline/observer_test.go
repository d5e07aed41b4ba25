package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// witness notes what an observer is told.
type witness struct {
	mu       sync.Mutex
	run      *pipeline.Running
	ended    []error
	timed    map[string]int
	took     time.Duration
	ends     []pipeline.TransactionEnd
	letters  []pipeline.DeadLettered
	whenSeen []pipeline.Snapshot // with each batch of dead letters
}

func (w *witness) RunStarted(r *pipeline.Running) { w.run, w.timed = r, map[string]int{} }

func (w *witness) RunEnded(r *pipeline.Running, err error) { w.ended = append(w.ended, err) }

func (w *witness) Processed(_ *pipeline.Running, topic string, took []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timed[topic] += len(took)
	for _, d := range took {
		w.took = max(w.took, d)
	}
}

func (w *witness) TransactionEnded(_ *pipeline.Running, t pipeline.TransactionEnd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, t)
}

func (w *witness) DeadLettered(r *pipeline.Running, letters []pipeline.DeadLettered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.letters = append(w.letters, letters...)
	w.whenSeen = append(w.whenSeen, r.Stats.Snapshot())
}

// outcomes are how transactions ended, with their reasons and records.
func (w *witness) outcomes() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.ends {
		all = append(all, fmt.Sprintf("%v %s %d", e.Outcome, e.Reason, e.Records))
	}
	return all
}

func (w *witness) stages() map[string]pipeline.StageStats {
	m := map[string]pipeline.StageStats{}
	for _, s := range w.run.Stats.Snapshot().Stages {
		m[s.Name] = s
	}
	return m
}

func observed(w *witness) pipelinetest.Option {
	return pipelinetest.Engine(pipeline.Observers(w))
}

// Every stage's counters, with branches, a filter, a fan-out and records that fail.
func TestStagesAreCounted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"))
		in := pipeline.From(p, "in", serde.String())
		checked := stages.Check(in, "check", func(v string) error {
			if v[0] == 'x' {
				return errors.New("no")
			}
			return nil
		})
		kept := stages.Filter(checked, "keep", func(v string) bool { return v[0] != 'f' })
		twice := stages.FlatMap(kept, "twice", func(v string) ([]string, error) {
			if v[0] == '0' {
				return nil, nil
			}
			return []string{v, v}, nil
		})
		pipeline.To(twice, "out", serde.String())
		a, b := stages.Split(kept, "split", func(v string) bool { return v[0] == 'a' })
		pipeline.To(stages.Merge("merge", a, b), "both", serde.String(), pipeline.OnError(pipeline.Skip))

		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2), BatchRecords: 3})
		for i, v := range slices.Concat(numbered("a", 10), numbered("b", 5), numbered("f", 4), numbered("x", 3), numbered("0", 2)) {
			c.Feed("in", pipelinetest.Text(v, v).On(int32(i%2)))
		}
		w := &witness{}
		snap := pipelinetest.Run(t, p, c, observed(w))

		type counts struct{ in, out, dropped, dead int64 }
		want := map[string]counts{
			"in": {24, 24, 0, 0}, "check": {24, 21, 0, 3}, "keep": {21, 17, 4, 0}, "twice": {17, 30, 2, 0}, "out": {30, 0, 0, 0},
			"split": {17, 17, 0, 0}, "merge": {17, 17, 0, 0}, "both": {17, 0, 0, 0},
		}
		got := w.stages()
		for name, c := range want {
			if s := got[name]; (counts{s.In, s.Out, s.Dropped, s.DeadLetters}) != c {
				t.Errorf("%s: %+v, want %+v", name, counts{s.In, s.Out, s.Dropped, s.DeadLetters}, c)
			}
		}
		topology := p.Topology()
		for i, e := range topology.Edges {
			if from, to := topology.Nodes[e.From].Name, topology.Nodes[e.To].Name; from == "split" {
				if want := map[int]int64{1: 10, 2: 7}[e.Branch]; snap.Passed[i] != want {
					t.Errorf("branch %d to %s: %d, want %d", e.Branch, to, snap.Passed[i], want)
				}
			}
		}
	})
}

// What follows from other counts is right whatever keeps records from going on: errors,
// panics, tombstones, records that are too large, and middleware that tries again.
func TestWhatIsNotCountedFollows(t *testing.T) {
	for name, opts := range map[string][]pipeline.Option{"engine": nil, "recovered by a middleware": {middleware.Recover()}} {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { followingCounts(t, opts) }) })
	}
}

func followingCounts(t *testing.T, opts []pipeline.Option) {
	again := func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			err := next(ctx, r)
			if string(r.Value) == "again" {
				err = next(ctx, r)
			}
			return err
		}
	}
	p := pipeline.New("test", append([]pipeline.Option{pipeline.OnError(pipeline.Skip), pipeline.Use(again)}, opts...)...)
	in := pipeline.From(p, "in", serde.String())
	mapped := stages.Map(in, "map", func(v string) (string, error) {
		switch v {
		case "error", "again":
			return "", errOops
		case "panic":
			panic(v)
		}
		return v, nil
	})
	checked := stages.Check(mapped, "check", func(v string) error {
		if v == "late" {
			return errOops
		}
		return nil
	})
	peeked := stages.Peek(checked, "peek", func(string) {})
	first := stages.Check(peeked, "first", func(v string) error {
		if v == "c" {
			return errOops
		}
		return nil
	})
	pipeline.To(stages.Merge("merge", first, first), "out", serde.String())
	pipeline.To(peeked, "second", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	feed(c, 0, "a", "error", "b", "panic", "late", "again", "c")
	c.Feed("in", pipelinetest.Bytes([]byte("k"), nil).On(0))
	w := &witness{}
	pipelinetest.Run(t, p, c, observed(w))
	got := w.stages()
	for name, want := range map[string][2]int64{
		// "again" goes in twice, the tombstone goes nowhere.
		"in": {9, 8}, "map": {8, 4}, "check": {4, 3}, "peek": {3, 3}, "first": {3, 2}, "merge": {4, 4}, "out": {4, 0}, "second": {2, 0},
	} {
		if s := got[name]; s.In != want[0] || s.Out != want[1] {
			t.Errorf("%s: %d in, %d out; want %v", name, s.In, s.Out, want)
		}
	}
}

// The times are the stages' own, and weigh what was not timed.
func TestStagesAreTimed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := build(func(s stream) stream {
			slow := stages.CheckCtx(s, "outer", takes(3*time.Millisecond))
			return stages.CheckCtx(slow, "inner", takes(10*time.Millisecond))
		})
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1), BatchRecords: 10})
		feed(c, 0, numbered("v", 50)...)
		w := &witness{}
		snap := pipelinetest.Run(t, p, c, observed(w))
		stage := w.stages()
		for name, want := range map[string]time.Duration{"outer": 3 * time.Millisecond, "inner": 10 * time.Millisecond} {
			d := stage[name].Time
			if p50 := d.Quantile(.5); d.Count() != 50 || p50 < want || p50 > want*17/16 {
				t.Errorf("%s: %d times, p50 %v; want 50 of %v", name, d.Count(), p50, want)
			}
		}
		if d := snap.RecordTime; d.Count() != 50 || d.Quantile(.01) < 13*time.Millisecond || d.Quantile(1) > 14*time.Millisecond {
			t.Errorf("%d records, %v to %v", d.Count(), d.Quantile(.01), d.Quantile(1))
		}
		if w.timed["in"] != 50 || w.took != 13*time.Millisecond {
			t.Errorf("told of %d, the longest of %v", w.timed["in"], w.took)
		}
	})
}

// Fast records are timed now and then, each for those since the last.
func TestFastRecordsAreTimedSeldom(t *testing.T) {
	p, c := engine(1, asIs)
	feed(c, 0, numbered("v", 20_000)...)
	w := &witness{}
	snap := pipelinetest.Run(t, p, c, observed(w))
	if n := w.timed["in"]; n < 10 || n > 10_000 {
		t.Errorf("%d of 20,000 were timed", n)
	}
	if n := snap.RecordTime.Count(); n > 20_000 || n < 20_000-1536 {
		t.Errorf("they stand for %d", n)
	}
}

// Transactions are told with their outcome; dead letters once, when they are committed.
func TestTransactionsAreObserved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(func(_ context.Context, v string) error {
			if v == "v3" {
				return errors.New("no")
			}
			return nil
		}))
		feed(c, 0, numbered("v", 5)...)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		w := &witness{}
		snap := pipelinetest.Run(t, p, c, observed(w))
		if got := fmt.Sprint(w.outcomes()); got != "[aborted commit 5 committed  5]" {
			t.Errorf("told of %s", got)
		}
		if snap.AbortsByReason["commit"] != 1 || len(snap.UnknownByReason) != 0 {
			t.Errorf("reasons %v, unknown %v", snap.AbortsByReason, snap.UnknownByReason)
		}
		if len(w.letters) != 1 || w.letters[0].Stage != "calls" || w.letters[0].Record.Origin.Offset != 3 || string(w.letters[0].Record.Value) != "v3" {
			t.Fatalf("dead letters %v", w.letters)
		}
		if w.whenSeen[0].Commits != 0 && w.whenSeen[0].Committed != 5 {
			t.Errorf("told before the commit was counted: %+v", w.whenSeen[0])
		}
		if len(w.ended) != 1 || w.ended[0] != nil || snap.Phase != pipeline.PhaseEnded {
			t.Errorf("ended with %v in phase %v", w.ended, snap.Phase)
		}
	})
}

// Aborts in a row do not make uncommitted work look younger.
func TestUncommittedSinceOutlivesAborts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		for range 20 {
			c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		}
		feed(c, 0, "v")
		w := &witness{}
		begin := time.Now()
		work := c.Start(t.Context(), p, observed(w))
		time.Sleep(5 * time.Second) // fake time: some aborts, with growing pauses
		synctest.Wait()
		snap := w.run.Stats.Snapshot()
		if snap.Aborts < 3 || snap.UncommittedSince.IsZero() || snap.UncommittedSince.Sub(begin) > time.Second {
			t.Errorf("%d aborts, uncommitted since %v after the begin", snap.Aborts, snap.UncommittedSince.Sub(begin))
		}
		_ = work.Stop()
	})
}

// What an abort catches before its hand-over is replayed, and was never counted.
func TestReplayedBeforeHandOverIsCountedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, calls(func(_ context.Context, v string) error {
			time.Sleep(time.Millisecond) // fake time
			if strings.HasSuffix(v, "5") {
				return errors.New("no")
			}
			return nil
		}))
		feed(c, 0, numbered("v", 100)...)
		feed(c, 1, numbered("w", 97)...)
		// Between two hand-overs of ten records: those of the interval below are between them.
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable}, pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		w := &witness{}
		pipelinetest.Run(t, p, c, observed(w), pipelinetest.Engine(pipeline.CommitEvery(37*time.Millisecond, 0, 0)))
		in, stage := w.stages()["in"], w.stages()["calls"]
		if in.In <= 197 || in.In != stage.In {
			t.Errorf("%d records, %d in the stage; want more than 197, and as many", in.In, stage.In)
		}
		if len(w.letters) != 20 {
			t.Errorf("told of %d dead letters, want 20", len(w.letters))
		}
	})
}

// Between two sessions a run is joining.
func TestPhaseBetweenSessions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Ambiguous})
		w := &witness{}
		var phases []pipeline.Phase
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.When == pipelinetest.Before && (e.Step == pipelinetest.StepInit || e.Step == pipelinetest.StepCommit) {
				phases = append(phases, w.run.Stats.Snapshot().Phase)
			}
			return nil
		})
		pipelinetest.Run(t, p, c, observed(w))
		want := []pipeline.Phase{pipeline.PhaseJoining, pipeline.PhaseRunning, pipeline.PhaseJoining, pipeline.PhaseRunning}
		if !slices.Equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
	})
}

// A dead letter of a table goes with the next transaction that is committed.
func TestDeadLettersOfTablesAreObserved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"))
		pipeline.Table(p, "names", serde.String(), serde.JSON[int]())
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
		c := pipelinetest.For(p)
		c.Feed("names", pipelinetest.Text("k", "no number"))
		feed(c, 0, "v")
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		w := &witness{}
		pipelinetest.Run(t, p, c, observed(w))
		if len(w.letters) != 1 || w.letters[0].Stage != "names" || w.letters[0].Record.Origin.Topic != "names" {
			t.Errorf("dead letters %v", w.letters)
		}
		if got := w.outcomes(); len(got) < 2 || got[0] != "aborted commit 1" && got[0] != "aborted commit 0" {
			t.Errorf("told of %q", got)
		}
	})
}

// What nobody knows the outcome of is told as that.
func TestUnknownOutcomesAreObserved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, numbered("v", 5)...)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, When: pipelinetest.After, Kind: pipelinetest.Ambiguous})
		w := &witness{}
		snap := pipelinetest.Run(t, p, c, observed(w))
		if got := fmt.Sprint(w.outcomes()); got != "[unknown commit 5]" {
			t.Errorf("told of %s", got)
		}
		if snap.UnknownByReason["commit"] != 1 || snap.UncommittedSince != (time.Time{}) {
			t.Errorf("unknown %v, uncommitted since %v", snap.UnknownByReason, snap.UncommittedSince)
		}
	})
}

// The state between: phases, lag, the open transaction.
func TestSnapshotOfARun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		// No record ends when a commit falls due, every 100 ms: which comes first would be open.
		p, c := engine(2, calls(takes(7*time.Millisecond)))
		feed(c, 0, numbered("v", 50)...)
		w := &witness{}
		work := c.Start(t.Context(), p, observed(w))
		begin := time.Now()
		time.Sleep(150 * time.Millisecond) // fake time
		synctest.Wait()
		snap := w.run.Stats.Snapshot()
		if snap.Phase != pipeline.PhaseRunning || len(snap.Claims) != 2 {
			t.Fatalf("phase %v, %d partitions", snap.Phase, len(snap.Claims))
		}
		busy, idle := snap.Claims[0], snap.Claims[1]
		if busy.Lag != 50-busy.Committed || busy.Committed == 0 || idle.Lag != 0 {
			t.Errorf("lag %d at %d, of the idle one %d", busy.Lag, busy.Committed, idle.Lag)
		}
		if snap.Transaction.Records == 0 || snap.Transaction.Began.Before(begin) || !snap.UncommittedSince.Equal(snap.Transaction.Began) {
			t.Errorf("transaction %+v, uncommitted since %v", snap.Transaction, snap.UncommittedSince)
		}
		time.Sleep(2 * time.Second) // fake time: all is done
		synctest.Wait()
		snap = w.run.Stats.Snapshot()
		if snap.Claims[0].Lag != 0 || snap.Transaction != (pipeline.TransactionStats{}) || !snap.UncommittedSince.IsZero() {
			t.Errorf("at the end: lag %d, transaction %+v, uncommitted since %v", snap.Claims[0].Lag, snap.Transaction, snap.UncommittedSince)
		}
		if err := work.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A partition that waits says for what.
func TestSnapshotOfAWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		errDown := errors.New("down")
		p, c := engine(1, calls(func(context.Context, string) error { return pipeline.Retriable(errDown) }))
		feed(c, 0, "v")
		w := &witness{}
		work := c.Start(t.Context(), p, observed(w))
		time.Sleep(10 * time.Second) // fake time
		synctest.Wait()
		snap := w.run.Stats.Snapshot()
		if snap.Claims[0].Waiting != "calls" || !errors.Is(snap.Claims[0].Cause, errDown) || w.stages()["calls"].Retries < 2 {
			t.Errorf("%+v, %d retries", snap.Claims[0], w.stages()["calls"].Retries)
		}
		if err := work.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Of one transaction no more than 100 dead letters are kept, and no more than 1 MiB.
func TestObservedDeadLettersAreBounded(t *testing.T) {
	for want, size := range map[int]int{100: 10, 10: 100 << 10} {
		inBubble(t, func(t *testing.T) {
			p, c := engine(1, calls(func(context.Context, string) error { return errors.New("no") }))
			for range 300 {
				c.Feed("in", pipelinetest.Text("", strings.Repeat("v", size)).On(0))
			}
			w := &witness{}
			run := pipeline.CommitEvery(time.Second, 0, 1<<30)
			snap := pipelinetest.Run(t, p, c, observed(w), pipelinetest.Engine(run))
			if len(w.letters) != want || snap.DeadLetters != 300 || snap.Commits != 1 {
				t.Errorf("told of %d of %d dead letters in %d commits, want %d", len(w.letters), snap.DeadLetters, snap.Commits, want)
			}
		})
	}
}

// The bound is a transaction's, not the run's.
func TestObservedDeadLettersOfLaterTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(func(context.Context, string) error {
			time.Sleep(time.Second) // fake time: each has its own
			return errors.New("no")
		}))
		for range 15 {
			c.Feed("in", pipelinetest.Text("", strings.Repeat("v", 100<<10)).On(0))
		}
		w := &witness{}
		pipelinetest.Run(t, p, c, observed(w))
		if len(w.letters) != 15 {
			t.Errorf("told of %d dead letters, want 15", len(w.letters))
		}
	})
}

func TestNilObserver(t *testing.T) {
	p, c := engine(1, asIs)
	err := c.Run(t.Context(), p, pipelinetest.Engine(pipeline.Observers(nil)))
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}
