package console

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// large starts a pipeline of 12 stages on 1,000 partitions, with some records processed
// and 50 dead letters.
func large(t testing.TB) *Console {
	t.Helper()
	type value struct {
		Name string
		N    int
	}
	p := pipeline.New("large", pipeline.DeadLetter("dlq"))
	s := pipeline.From(p, "in", serde.JSON[value]())
	for i := range 12 {
		s = stages.Check(s, fmt.Sprint("stage", i), func(v value) error {
			if v.N%20 == 0 && v.N/20%12 == i {
				return fmt.Errorf("%d is refused here", v.N)
			}
			return nil
		})
	}
	pipeline.To(s, "out", serde.JSON[value]())
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1000)})
	for i := range 2000 {
		c.Feed("in", pipelinetest.Value(serde.JSON[value](), value{"some name that is not too short", i}).On(int32(i%1000)))
	}
	live, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := c.Start(context.Background(), p, pipelinetest.Engine(pipeline.Observers(live)))
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.AwaitFinished(ctx, p); err != nil {
		t.Fatal(err)
	}
	return live
}

// refresh is all that a second of the console costs: a sample, the document and, more
// than a browser asks for, the page.
func refresh(t testing.TB, live *Console) (size int) {
	live.all()[0].sample()
	live.state.mu.Lock()
	live.state.at = time.Time{} // of another browser
	live.state.mu.Unlock()
	for _, path := range []string{"/", "/state.json"} {
		w := httptest.NewRecorder()
		live.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 {
			t.Fatal(w.Code)
		}
		size = w.Body.Len()
	}
	return size
}

// A second browser gets what was made for the first.
func TestBrowsersShareTheState(t *testing.T) {
	made := 0
	var c cache
	of := func(context.Context) *State { made++; return &State{} }
	for range 100 {
		if _, err := c.get(t.Context(), of); err != nil {
			t.Fatal(err)
		}
	}
	if made > 2 {
		t.Errorf("made %d times", made)
	}
}

func BenchmarkRefresh(b *testing.B) {
	live := large(b)
	size := refresh(b, live)
	b.ReportAllocs()
	for b.Loop() {
		refresh(b, live)
	}
	b.ReportMetric(float64(size), "bytes")
}
