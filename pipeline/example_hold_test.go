package pipeline_test

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

// pairs is a stage that joins every two records to one, and lets the last go alone
// before a commit.
func pairs(s pipeline.Stream[string]) pipeline.Stream[string] {
	return pipeline.Apply(s, "pairs", "pairs", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var held []*pipeline.Held
		var joined string
		release := func(ctx context.Context) error {
			group, out := held, pipeline.Record[string]{Key: []byte("k"), Value: joined}
			held, joined = nil, ""
			return sc.ResumeAll(ctx, group, func(ctx context.Context) error { return next(ctx, &out) })
		}
		sc.Hook(pipeline.Hooks{
			BeforeCommit: release,
			Aborted:      func() { held, joined = nil, "" }, // they come again
		})
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			if len(held) == 2 { // the two are through, and r is another record
				if err := release(ctx); err != nil {
					return err
				}
			}
			held, joined = append(held, sc.Hold()), joined+r.Value
			return nil
		}
	})
}

func ExampleStageContext_Hold() {
	p := pipeline.New("example")
	pipeline.To(pairs(pipeline.From(p, "in", serde.String())), "out", serde.String())
	play(p, "in", "a", "b", "c", "d", "e")
	// Output:
	// out: k=ab
	// out: k=cd
	// out: k=e
}
