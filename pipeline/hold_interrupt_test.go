package pipeline_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// What is given up in its midst while records are held comes again, whole, and so do
// those with which it was resumed. What is held of it is not committed with others.
func TestHeldRecordIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		late bool // what was held is given up, else the last record, in another branch
		err  error
		want []string
	}{
		"interrupted, resumed":    {true, pipeline.Retriable(errOops), []string{"a+b+c", "d"}},
		"interrupted, being held": {false, pipeline.Retriable(errOops), []string{"a+b", "c+d"}},
		"fails, resumed":          {true, pipeline.Fatal(errOops), []string{"a+b+c", "d"}},
		"fails, being held":       {false, pipeline.Fatal(errOops), []string{"a+b", "c+d"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				broken := true
				build := func() *pipeline.Pipeline {
					p := pipeline.New("test")
					in := pipeline.From(p, "in", serde.String())
					fails := func(late bool) func(context.Context, string) error {
						return func(_ context.Context, v string) error {
							if broken && late == test.late && (v == "c" || v == "a+b+c") {
								return test.err
							}
							return nil
						}
					}
					together := (&late{window: 3, grouped: true}).stage(in)
					pipeline.To(stages.CheckCtx(together, "after", fails(true)), "late", serde.String())
					pipeline.To(stages.CheckCtx(in, "past", fails(false)), "direct", serde.String())
					return p
				}
				p := build()
				c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1), BatchRecords: 10})
				feed(c, 0, "a", "b", "c", "d")
				w := c.Start(t.Context(), p, every(time.Minute, 0, 0))
				settle(time.Second)
				if err := w.Stop(); pipeline.IsRetriable(test.err) != (err == nil) {
					t.Fatal(err)
				}
				broken = false
				if err := c.Run(t.Context(), build()); err != nil {
					t.Fatal(err)
				}
				expectTexts(t, c, "direct", "a", "b", "c", "d")
				expectTexts(t, c, "late", test.want...)
			})
		})
	}
}
