package console_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// slowSerde waits at its first look-up and at each record.
type slowSerde struct {
	pipeline.Serde[string]
	prepare, decode gate
}

func (s slowSerde) Prepare(ctx context.Context, _ pipeline.Slot, _ bool) error {
	return s.prepare.pass(ctx)
}

func (s slowSerde) Decode(ctx context.Context, at pipeline.Slot, data []byte) (string, error) {
	if err := s.decode.pass(ctx); err != nil {
		return "", err
	}
	return s.Serde.Decode(ctx, at, data)
}

// From nothing through every phase to the end.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("p")
		slow := slowSerde{serde.String(), make(gate), make(gate)}
		pipeline.Table(p, "table", serde.String(), pipeline.Serde[string](slow))
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		initialise := make(gate)
		c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
			if e.Step == pipelinetest.StepInit && e.When == pipelinetest.Before {
				return initialise.pass(ctx)
			}
			return nil
		})
		c.Feed("table", pipelinetest.Text("k", "v").On(0))
		expect := func(want string) {
			t.Helper()
			pass(5 * time.Second)
			if got := ready(live); got != want {
				t.Errorf("readyz says %q, want %q", got, want)
			}
			if w := get(live, "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
				t.Errorf("healthz says %d %s", w.Code, w.Body)
			}
		}
		expect("503 no pipeline runs")
		w := c.Start(t.Context(), p, observed(live))
		expect("503 p: opening")
		close(slow.prepare)
		expect("503 p: loading tables")
		close(slow.decode)
		expect("503 p: joining")
		if r := only(t, live); r.Phase != "joining" || r.PhaseAge < 4000 || r.PhaseAge > 6000 {
			t.Errorf("phase %s for %v ms", r.Phase, r.PhaseAge)
		}
		close(initialise)
		expect("200 ok")
		if r := only(t, live); len(r.Tables) != 1 || r.Tables[0].Entries != 1 {
			t.Errorf("tables %+v", r.Tables)
		}
		stop(t, w)
		expect("503 no pipeline runs")
	})
}

// Counters are those of all runs, also of one that is over, and only grow.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := newConsole(t, console.Config{})
		p := checked("p", passes)
		c := cluster(p, 1)
		if body := get(live, "/metrics").Body.String(); body != "" {
			t.Errorf("without runs: %s", body)
		}
		for _, want := range []string{"5", "10"} {
			feed(c, 5, "v")
			w := c.Start(t.Context(), p, observed(live))
			pass(5 * time.Second)
			line := `leat_input_records_total{pipeline="p"} ` + want + "\n"
			running := get(live, "/metrics").Body.String()
			stop(t, w)
			ended := get(live, "/metrics").Body.String()
			if !strings.Contains(running, line) || !strings.Contains(ended, line) {
				t.Errorf("running or ended, it has no line %s", line)
			}
		}
	})
}

// A run that fails makes the process unhealthy until another takes its place.
func TestFailedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := newConsole(t, console.Config{})
		p := checked("p", passes)
		c := cluster(p, 1)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepInit, Kind: pipelinetest.FatalError})
		if err := c.Run(t.Context(), p, observed(live)); err == nil {
			t.Fatal("it has not failed")
		}
		w := get(live, "/healthz")
		if w.Code != 503 || !strings.HasPrefix(w.Body.String(), "p has ended: ") || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("healthz says %d %q", w.Code, w.Body)
		}
		if got := ready(live); got != "503 p: ended with an error" {
			t.Errorf("readyz says %s", got)
		}
		if r := only(t, live); r.Error == "" || r.Phase != "ended" {
			t.Errorf("run %+v", r)
		}
		again := c.Start(t.Context(), p, observed(live))
		pass(5 * time.Second)
		if w := get(live, "/healthz"); w.Code != 200 || ready(live) != "200 ok" {
			t.Errorf("begun again: %d, %s", w.Code, ready(live))
		}
		stop(t, again)
	})
}
