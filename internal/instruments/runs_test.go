package instruments_test

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func text(t testing.TB, r *instruments.Runs) map[string]float64 {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return series(t, b.String())
}

// await returns when the series have these values.
func await(t testing.TB, r *instruments.Runs, want map[string]float64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		got := text(t, r)
		maps.DeleteFunc(got, func(id string, _ float64) bool { _, ok := want[id]; return !ok })
		if maps.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

// A pipeline that is run again goes on counting where the run before ended; nothing is kept
// of that one but the counts.
func TestRunsOneAfterTheOther(t *testing.T) {
	p := branched("mill")
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	var runs instruments.Runs
	for n := 1.; n <= 3; n++ {
		input(c)
		pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Observers(&runs)))
		got := text(t, &runs)
		for id, want := range map[string]float64{
			"leat_committed_records_total{pipeline=mill}":                            17 * n,
			"leat_stage_records_dropped_total{kind=filter,pipeline=mill,stage=keep}": 4 * n,
			"leat_transaction_records{outcome=committed,pipeline=mill} sum":          17 * n,
			// The cache outlives the runs.
			"leat_cache_misses_total{pipeline=mill,stage=name}": 1,
			"leat_cache_hits_total{pipeline=mill,stage=name}":   10*n - 1,
		} {
			if got[id] != want {
				t.Errorf("after run %v: %s is %v, want %v", n, id, got[id], want)
			}
		}
		if _, ok := got["leat_consumer_lag{pipeline=mill,topic=in}"]; ok {
			t.Error("a run that has ended has a lag")
		}
	}
}

// To look at a run changes nothing of what those before it have counted.
func TestRunsAreLookedAtAgain(t *testing.T) {
	p := branched("mill")
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	var runs instruments.Runs
	observe := pipelinetest.Engine(pipeline.Observers(&runs))
	input(c)
	pipelinetest.Run(t, p, c, observe)
	input(c)
	work := c.Start(t.Context(), p, observe)
	if err := c.AwaitFinished(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		await(t, &runs, map[string]float64{"leat_committed_records_total{pipeline=mill}": 34})
	}
	if err := work.Stop(); err != nil {
		t.Error(err)
	}
}

// Several runs at once: those of one pipeline are one.
func TestRunsAtOnce(t *testing.T) {
	var runs instruments.Runs
	mill, other := branched("mill"), branched("other")
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(mill, 2)})
	input(c)
	observe := pipelinetest.Engine(pipeline.Observers(&runs))
	workers := []*pipelinetest.Worker{
		c.Start(t.Context(), mill, observe, pipelinetest.Instance("one")),
		c.Start(t.Context(), branched("mill"), observe, pipelinetest.Instance("two")),
		c.Start(t.Context(), other, observe, pipelinetest.Instance("three")),
	}
	for _, p := range []*pipeline.Pipeline{mill, other} {
		if err := c.AwaitFinished(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	await(t, &runs, map[string]float64{
		"leat_committed_records_total{pipeline=mill}": 17, "leat_committed_records_total{pipeline=other}": 17,
		"leat_consumer_partitions{pipeline=mill,topic=in}": 2, "leat_consumer_partitions{pipeline=other,topic=in}": 2,
		"leat_runs{phase=running,pipeline=mill}": 2, "leat_runs{phase=running,pipeline=other}": 1,
	})
	for _, w := range workers {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	if n := text(t, &runs)["leat_committed_records_total{pipeline=mill}"]; n != 17 {
		t.Errorf("%v committed at the end, want 17", n)
	}
}

// What goes to a retry topic untried is counted apart from what failed.
func TestRecordsBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("mill", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
		in := pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder(time.Hour))
		pipeline.To(stages.Check(in, "check", func(string) error { return errors.New("no") }), "out", serde.String())
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		var runs instruments.Runs
		work := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.Observers(&runs)))
		c.Feed("in", pipelinetest.Text("k", "a"), pipelinetest.Text("k", "b"), pipelinetest.Text("k", "c"))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		got := text(t, &runs)
		if failed, behind := got["leat_stage_retried_later_total{kind=check,pipeline=mill,stage=check}"], got["leat_behind_records_total{pipeline=mill}"]; failed != 1 || behind != 2 {
			t.Errorf("%v failed and %v were behind", failed, behind)
		}
		if err := work.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// What waits in a retry topic until it is due is no lag.
func TestRetryTopicThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("mill", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
		in := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(time.Hour))
		pipeline.To(stages.Check(in, "check", func(string) error { return errors.New("no") }), "out", serde.String())
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		var runs instruments.Runs
		work := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.Observers(&runs)))
		c.Feed("in", pipelinetest.Text("k", "a"), pipelinetest.Text("k", "b"))
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		got := text(t, &runs)
		for id, want := range map[string]float64{
			"leat_stage_retried_later_total{kind=check,pipeline=mill,stage=check}": 2,
			"leat_consumer_not_due{pipeline=mill,topic=in.retry.1h}":               3, // offsets: a marker is there, too
			"leat_consumer_lag{pipeline=mill,topic=in.retry.1h}":                   0,
			"leat_consumer_partitions{pipeline=mill,topic=in.retry.1h}":            1,
			"leat_consumer_partitions_waiting{pipeline=mill}":                      0,
		} {
			if have, ok := got[id]; !ok || have != want {
				t.Errorf("%s is %v, %v, want %v", id, have, ok, want)
			}
		}
		if err := work.Stop(); err != nil {
			t.Error(err)
		}
	})
}
