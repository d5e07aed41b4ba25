package pipeline_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// A stage that waits for something outside gives its record up with the partition, which
// waits for nothing then; the record comes again.
func TestGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		asked := 0
		build := func(answer <-chan struct{}) *pipeline.Pipeline {
			p := pipeline.New("test")
			waits := pipeline.Apply(pipeline.From(p, "in", serde.String()), "wait", "wait", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
				return func(ctx context.Context, r *pipeline.Record[string]) error {
					sc.Enter()
					asked++
					select {
					case <-answer:
						return next(ctx, r)
					case <-sc.GivenUp():
						err := sc.Wait(ctx, time.Hour)
						if !pipeline.IsInterrupted(err) {
							t.Errorf("error %v", err)
						}
						return err
					}
				}
			})
			pipeline.To(waits, "out", serde.String())
			return p
		}
		p := build(nil)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		feed(c, 0, "a")
		w := c.Start(t.Context(), p)
		settle(time.Second)
		began := time.Now()
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the stop took %v", took)
		}
		answered := make(chan struct{})
		close(answered)
		if err := c.Run(t.Context(), build(answered)); err != nil {
			t.Fatal(err)
		}
		if asked != 2 {
			t.Errorf("the record came %d times, want 2", asked)
		}
		expectTexts(t, c, "out", "a")
	})
}
