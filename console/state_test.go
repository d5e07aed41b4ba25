package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// Rates and quantiles are of the last five seconds, whoever looks and however often.
func TestRatesAreOfTheLastSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := 2 * time.Millisecond
		p := checked("p", func(context.Context, string) error { time.Sleep(took); return nil })
		c, live := cluster(p, 2), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		for range 100 { // 10 s of 50 records a second
			feed(c, 5, "v")
			pass(100 * time.Millisecond)
		}
		r := only(t, live)
		if !near(r.In, 50, 3) || !near(r.Out, 50, 3) || !near(r.Committed, 50, 3) {
			t.Errorf("in %v, out %v, committed %v", *r.In, *r.Out, *r.Committed)
		}
		if p99 := r.RecordTime.P99; !near(p99, 2.06, .1) {
			t.Errorf("p99 of %v ms", *p99)
		}
		if n := len(r.Curve); n < 9 || n > 10 || r.Curve[n-2] < 45 || r.Curve[n-2] > 55 {
			t.Errorf("curve %v", r.Curve)
		}
		check := r.Stages[1]
		if !near(check.In, 50, 3) || !near(check.Time.P99, 2.06, .1) || r.Edges[0] == nil || *r.Edges[0] < 47 || *r.Edges[0] > 53 {
			t.Errorf("stage %+v, edges %v", check, r.Edges)
		}

		took = 20 * time.Millisecond // of which the old times say nothing
		for range 60 {
			feed(c, 1, "v")
			pass(100 * time.Millisecond)
		}
		r = only(t, live)
		if !near(r.In, 10, 1) || !near(r.RecordTime.P50, 20.5, 1) {
			t.Errorf("six seconds later: in %v, p50 %v", *r.In, *r.RecordTime.P50)
		}
		pass(6 * time.Second)
		r = only(t, live)
		if *r.In != 0 || r.RecordTime.P99 != nil || r.Totals.Records != 560 {
			t.Errorf("idle: in %v, p99 %v, %d records", *r.In, r.RecordTime.P99, r.Totals.Records)
		}
	})
}

// What is kept of the past is bounded, and the curve with it.
func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checked("p", passes)
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		pass(10 * time.Minute)
		if n := len(only(t, live).Curve); n != 120 {
			t.Errorf("a curve of %d points", n)
		}
	})
}

// The last commit's age is red when commits should come, and never because nothing does.
func TestIdleIsNotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checked("p", passes)
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		feed(c, 10, "v")
		pass(time.Hour)
		r := only(t, live)
		if r.Commits.Overdue != "" || r.Commits.Age == nil || *r.Commits.Age < 59*60*1000 {
			t.Errorf("commits %+v after an hour without input", r.Commits)
		}
		feed(c, 1, "v") // the old age says nothing of this one
		pass(50 * time.Millisecond)
		if r := only(t, live); r.Commits.Overdue != "" {
			t.Errorf("overdue with the first record after an hour: %s", r.Commits.Overdue)
		}
	})
}

// A commit that hangs makes the age red after a second and the process not ready after
// ten; the page is told to look more often before.
func TestStalledCommitIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checked("p", passes)
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		hold := make(gate)
		c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
			if e.Step == pipelinetest.StepCommit && e.When == pipelinetest.Before {
				return hold.pass(ctx)
			}
			return nil
		})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		pass(time.Second)
		if s := state(t, live); s.Again != 1000 {
			t.Errorf("idle: again in %d ms", s.Again)
		}
		feed(c, 10, "v")
		pass(500 * time.Millisecond)
		if s := state(t, live); s.Again != 250 || s.Runs[0].Commits.Overdue != "" {
			t.Errorf("after 500 ms: again in %d ms, overdue %q", s.Again, s.Runs[0].Commits.Overdue)
		}
		pass(700 * time.Millisecond)
		r := only(t, live)
		if !strings.Contains(r.Commits.Overdue, "not committed for 1.2s") || r.Commits.Uncommitted < 1000 || *r.Commits.Open < 1000 || r.Commits.OpenRecords != 10 {
			t.Errorf("after 1.2 s: %+v", r.Commits)
		}
		if got := ready(live); got != "200 ok" {
			t.Errorf("after 1.2 s readyz says %s", got)
		}
		pass(10 * time.Second)
		if got := ready(live); got != "503 p: finished work is not committed for 11s" {
			t.Errorf("after 11 s readyz says %s", got)
		}
		close(hold)
		pass(time.Second)
		r = only(t, live)
		if got := ready(live); got != "200 ok" || r.Commits.Overdue != "" || r.Commits.Open != nil {
			t.Errorf("recovered: readyz says %s, commits %+v", got, r.Commits)
		}
		if l := r.Commits.Last; l == nil || l.Outcome != "committed" || l.Records != 10 || l.Committing < 11_000 {
			t.Errorf("last commit %+v", l)
		}
	})
}

// Records that are there and not worked off are overdue later, for stages may be slow.
func TestLagWithoutCommitsIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(gate)
		p := checked("p", func(ctx context.Context, _ string) error { return hold.pass(ctx) })
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		feed(c, 10, "v")
		pass(9 * time.Second)
		if r := only(t, live); r.Commits.Overdue != "" || r.Partitions.Lag != 10 || r.Stages[0].Lag == nil || *r.Stages[0].Lag != 10 {
			t.Errorf("after 9 s: overdue %q, lag %d", r.Commits.Overdue, r.Partitions.Lag)
		}
		pass(3 * time.Second)
		if r := only(t, live); !strings.Contains(r.Commits.Overdue, "records to read") {
			t.Errorf("after 12 s: overdue %q", r.Commits.Overdue)
		}
		close(hold)
		pass(2 * time.Second)
		if r := only(t, live); r.Commits.Overdue != "" || r.Partitions.Lag != 0 {
			t.Errorf("recovered: overdue %q, lag %d", r.Commits.Overdue, r.Partitions.Lag)
		}
	})
}

// What stands in the graph: waits, errors of the last minute, aborts by reason, caches.
func TestTroubleIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		p := checked("p", func(_ context.Context, v string) error {
			if v == "retry" && !up.Load() {
				return pipeline.Retriable(errNo)
			}
			if v == "bad" {
				return errNo
			}
			return nil
		})
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		pass(3 * time.Second)
		feed(c, 3, "bad")
		pass(3 * time.Second)
		r := only(t, live)
		if s := r.Stages[1]; s.DeadLetters != 6 || s.Recent != 6 { // replayed once
			t.Errorf("stage %+v", s)
		}
		if f := r.Commits.Failed; len(f) != 1 || f[0] != (console.FailedCommits{Outcome: "aborted", Reason: "commit", Count: 1}) {
			t.Errorf("failed %+v", f)
		}
		feed(c, 1, "retry")
		pass(2 * time.Second)
		r = only(t, live)
		if w := r.Partitions.Worst; r.Stages[1].Waiting != 1 || r.Partitions.Waiting != 1 || w[0].Waiting != "check" || w[0].Cause != "no" {
			t.Errorf("waiting %+v, %+v", r.Stages[1], w)
		}
		up.Store(true)
		pass(2 * time.Minute)
		if s := only(t, live).Stages[1]; s.Recent != 0 || s.DeadLetters != 6 || s.Waiting != 0 || s.Retries == 0 {
			t.Errorf("two minutes later: %+v", s)
		}
	})
}

// Only the worst of many partitions are listed, with the sum of all.
func TestManyPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(gate)
		p := checked("p", func(ctx context.Context, _ string) error { return hold.pass(ctx) })
		c, live := cluster(p, 150), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		pass(time.Second)
		for i := range int32(150) {
			for range i {
				c.Feed("in", pipelinetest.Text("k", "v").On(i))
			}
		}
		pass(time.Second)
		ps := only(t, live).Partitions
		if ps.Total != 150 || ps.Lag != 150*149/2 || len(ps.Worst) != 100 || ps.Worst[0].Lag != 149 || ps.Worst[99].Lag != 50 {
			t.Errorf("%d partitions with lag %d, %d listed", ps.Total, ps.Lag, len(ps.Worst))
		}
		close(hold)
		pass(time.Second)
		stop(t, w)
	})
}

// Workers of one process stand side by side; a run takes the place of one of its name
// that has ended.
func TestSeveralRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(checked("p", passes), 2)
		live := newConsole(t, console.Config{Title: "many"})
		start := func(worker string) *pipelinetest.Worker {
			return c.Start(t.Context(), checked("p", passes), observed(live), pipelinetest.Instance(worker))
		}
		a := start("a")
		pass(time.Second)
		b := start("b")
		pass(5 * time.Second)
		s := state(t, live)
		if len(s.Runs) != 2 || s.Runs[0].ID == s.Runs[1].ID || s.Title != "many" || s.Runs[0].Partitions.Total+s.Runs[1].Partitions.Total != 2 {
			t.Errorf("%d runs: %+v", len(s.Runs), s.Runs)
		}
		stop(t, a)
		pass(time.Second)
		s = state(t, live)
		if s.Runs[0].Phase != "ended" || s.Runs[0].Ended == 0 || s.Runs[1].Phase != "running" {
			t.Errorf("after one has ended: %s and %s", s.Runs[0].Phase, s.Runs[1].Phase)
		}
		again := start("a")
		pass(5 * time.Second)
		if s := state(t, live); len(s.Runs) != 2 || s.Runs[0].ID != 2 || s.Runs[1].ID != 3 {
			t.Errorf("after it has begun again: %d runs", len(s.Runs))
		}
		stop(t, again)
		stop(t, b)
	})
}

// Runs that have ended are bounded, and those with an error are kept longest.
func TestEndedRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := newConsole(t, console.Config{})
		for i := range 12 {
			fails := i == 0
			p := pipeline.New(fmt.Sprint("p", i))
			pipeline.To(stages.Check(pipeline.From(p, "in", serde.String()), "check", func(string) error {
				if fails {
					return errNo
				}
				return nil
			}), "out", serde.String())
			c := cluster(p, 1)
			feed(c, 1, "v")
			if err := c.Run(t.Context(), p, observed(live)); (err != nil) != fails {
				t.Fatal(err)
			}
		}
		s := state(t, live)
		if len(s.Runs) != 8 || s.Runs[0].Pipeline != "p0" || s.Runs[1].Pipeline != "p5" || len(s.Failed) != 1 {
			t.Errorf("%d runs, the first %s and %s, failed %v", len(s.Runs), s.Runs[0].Pipeline, s.Runs[1].Pipeline, s.Failed)
		}
	})
}

// Browsers may ask at once, while runs come and go.
func TestConcurrentRequests(t *testing.T) {
	live := newConsole(t, console.Config{})
	p := checked("p", func(_ context.Context, v string) error {
		if v == "bad" {
			return errNo
		}
		return nil
	})
	var asking, running sync.WaitGroup
	done := make(chan struct{})
	for _, path := range []string{"/", "/state.json", "/metrics", "/healthz", "/readyz"} {
		for range 3 {
			asking.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						w := httptest.NewRecorder()
						live.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
						if path == "/state.json" && !json.Valid(w.Body.Bytes()) {
							t.Errorf("not JSON: %s", w.Body)
						}
					}
				}
			})
		}
	}
	for range 3 {
		running.Go(func() {
			c := cluster(p, 2)
			feed(c, 200, "v")
			feed(c, 50, "bad")
			if err := c.Run(t.Context(), p, observed(live)); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	close(done)
	asking.Wait()
	if s := state(t, live); len(s.Runs) == 0 || len(s.Runs[0].DeadLetters) == 0 {
		t.Errorf("%d runs in the end", len(s.Runs))
	}
}

// A retry topic whose next record is not due waits, and nothing is wrong: no stage waits, no
// commit is late, and its lag is in no sum.
func TestRetryTopicThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("p", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
		in := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(time.Hour))
		pipeline.To(stages.Check(in, "check", func(v string) error {
			if v == "bad" {
				return errNo
			}
			return nil
		}), "out", serde.String())
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		feed(c, 2, "bad")
		feed(c, 1, "good")
		pass(30 * time.Minute)
		r := only(t, live)
		if s := r.Stages[1]; s.RetriedLater != 2 || s.DeadLetters != 0 || s.Waiting != 0 {
			t.Errorf("stage %+v", s)
		}
		if r.Commits.Overdue != "" || r.Partitions.Lag != 0 || r.Partitions.Waiting != 0 || *r.Stages[0].Lag != 0 {
			t.Errorf("overdue %q, %+v, input lag %d", r.Commits.Overdue, r.Partitions, *r.Stages[0].Lag)
		}
		retry := r.Partitions.Worst[0]
		if retry.Topic != "in.retry.1h" || retry.Lag != 3 || retry.Due == nil || *retry.Due > 1800_000 || *retry.Due < 1790_000 {
			t.Errorf("the retry topic is %+v", retry)
		}
		pass(31 * time.Minute)
		if r := only(t, live); r.Stages[1].DeadLetters != 2 || r.DeadLetters[0].Topic != "in" || r.Partitions.Worst[0].Due != nil {
			t.Errorf("when it was due: %+v, %+v", r.Stages[1], r.DeadLetters)
		}
	})
}
