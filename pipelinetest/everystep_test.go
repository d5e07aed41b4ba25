package pipelinetest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// A stage with state of its own: it numbers the records of a partition. The hooks
// bring the number back to what is committed when its records are replayed; after
// a restart it is read from the output.
func number(s pipeline.Stream[string], known func(pipeline.Partition) int) pipeline.Stream[string] {
	return pipeline.Apply(s, "number", "number", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var n, handed, committed int
		sc.Hook(pipeline.Hooks{
			Assigned: func(context.Context) error {
				n = known(sc.Partition())
				committed = n
				return nil
			},
			BeforeCommit: func(context.Context) error { handed = n; return nil },
			Committed:    func() { committed = handed },
			Aborted:      func() { n = committed },
		})
		var scratch pipeline.Record[string]
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			sc.Enter()
			scratch = pipeline.With(r, fmt.Sprintf("%d#%d %s", sc.Partition().Partition, n, r.Value))
			n++
			return next(ctx, &scratch)
		}
	})
}

// EveryStep shows that the numbers have no gap and no repetition, whatever goes
// wrong.
func TestEveryStep(t *testing.T) {
	var c *pipelinetest.Cluster
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p := pipeline.New("numbers")
			in := pipeline.From(p, "in", serde.String())
			pipeline.To(number(in, func(part pipeline.Partition) (n int) {
				for _, v := range pipelinetest.Values(c, "out", serde.String()) {
					var of, i int
					if _, err := fmt.Sscanf(v, "%d#%d", &of, &i); err == nil && of == int(part.Partition) {
						n++
					}
				}
				return n
			}), "out", serde.String())
			return p
		},
		Feed: func(cluster *pipelinetest.Cluster) {
			c = cluster
			for i := range 30 {
				c.Feed("in", pipelinetest.Text(fmt.Sprint("k", i), fmt.Sprint("v", i)))
			}
		},
	})
}

// A stage whose outputs depend on where transactions end is compared by Check alone.
func TestEveryStepOnlyChecks(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p := pipeline.New("counts")
			counts := stages.Batch(pipeline.From(p, "in", serde.String()), "count", stages.BatchConfig{}, func(vs []string) ([]int, error) {
				return []int{len(vs)}, nil
			})
			pipeline.To(counts, "out", serde.JSON[int]())
			return p
		},
		Feed: func(c *pipelinetest.Cluster) {
			for i := range 30 {
				c.Feed("in", pipelinetest.Text(fmt.Sprint("k", i), fmt.Sprint("v", i)))
			}
		},
		OnlyCheck: true,
		Check: func(c *pipelinetest.Cluster) error {
			sum := 0
			for _, n := range pipelinetest.Values(c, "out", serde.JSON[int]()) {
				sum += n
			}
			if sum != 30 {
				return fmt.Errorf("%d records are counted, not 30", sum)
			}
			return nil
		},
	})
}
