package pipelinetest

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// TB is what [Run] needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// Run is [Cluster.Run] that fails the test if the pipeline does. It returns the
// run's counters.
func Run(t TB, p *pipeline.Pipeline, c *Cluster, opts ...Option) pipeline.Snapshot {
	t.Helper()
	w := c.worker(opts)
	w.untilEnd = true
	w.start(t.Context(), p)
	if err := w.Wait(); err != nil {
		t.Fatalf("pipeline %q: %v", p.Name(), err)
	}
	return w.Stats()
}
