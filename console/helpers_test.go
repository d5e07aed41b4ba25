package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func newConsole(t testing.TB, cfg console.Config) *console.Console {
	t.Helper()
	c, err := console.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func observed(c *console.Console) pipelinetest.Option {
	return pipelinetest.Engine(pipeline.Observers(c))
}

// checked is a pipeline of that name from in to out with one stage, "check"; dead letters
// go to dlq.
func checked(name string, check func(context.Context, string) error) *pipeline.Pipeline {
	p := pipeline.New(name, pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.CheckCtx(in, "check", check), "out", serde.String())
	return p
}

func passes(context.Context, string) error { return nil }

func cluster(p *pipeline.Pipeline, partitions int32) *pipelinetest.Cluster {
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions)})
}

func feed(c *pipelinetest.Cluster, n int, value string) {
	for i := range n {
		c.Feed("in", pipelinetest.Text(fmt.Sprint(i), value).On(0))
	}
}

// pass lets fake time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func get(c *console.Console, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

// state is /state.json, decoded by the exported type.
func state(t testing.TB, c *console.Console) console.State {
	t.Helper()
	w := get(c, "/state.json")
	if w.Code != 200 {
		t.Fatalf("state.json: %d %s", w.Code, w.Body)
	}
	var s console.State
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// only returns the state's only run.
func only(t testing.TB, c *console.Console) console.RunState {
	t.Helper()
	s := state(t, c)
	if len(s.Runs) != 1 {
		t.Fatalf("%d runs", len(s.Runs))
	}
	return s.Runs[0]
}

// ready is the code of /readyz and what it says.
func ready(c *console.Console) string {
	w := get(c, "/readyz")
	return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
}

// gate blocks a step until it is opened.
type gate chan struct{}

func (g gate) pass(ctx context.Context) error {
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func stop(t *testing.T, w *pipelinetest.Worker) {
	t.Helper()
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

var errNo = errors.New("no")

func near(got *float64, want, give float64) bool {
	return got != nil && *got > want-give && *got < want+give
}

func unmarshal(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}
