package pipeline_test

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// total is the state of one partition: a number, and what it was at the last hand-over and
// the last commit.
type total struct{ now, handed, committed uint64 }

// Settle takes one record back if it is not kept.
func (t *total) Settle(kept bool) {
	if !kept {
		t.now--
	}
}

// A stage that counts the records of a partition, for ever: its state is in a compacted topic,
// in the transaction, and is read back when the partition is assigned.
func ExampleApplyState() {
	p := pipeline.New("counting")
	in := pipeline.From(p, "in", serde.String())
	numbered := pipeline.ApplyState(in, "count", "count", "counts",
		func(sc *pipeline.StageContext, next pipeline.Next[string], changes pipeline.Next[[]byte]) pipeline.Next[string] {
			t := &total{}
			sc.Hook(pipeline.Hooks{
				Assigned: func(ctx context.Context) error {
					return sc.Restore(ctx, func(r *pipeline.Raw) error {
						t.now = binary.BigEndian.Uint64(r.Value)
						t.committed = t.now
						return nil
					})
				},
				HandedOver: func() { t.handed = t.now },
				Committed:  func() { t.committed = t.handed },
				Aborted:    func() { t.now = t.committed },
			})
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				sc.Enter()
				t.now++
				sc.Changed(t)
				change := pipeline.With(r, binary.BigEndian.AppendUint64(nil, t.now))
				change.Key = []byte("n")
				if err := changes(ctx, &change); err != nil {
					return err
				}
				out := pipeline.With(r, fmt.Sprintf("%d: %s", t.now, r.Value))
				return next(ctx, &out)
			}
		})
	pipeline.To(numbered, "out", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	for _, day := range []string{"monday", "tuesday"} {
		c.Feed("in", pipelinetest.Text("k", day+" a"), pipelinetest.Text("k", day+" b"))
		if err := c.Run(context.Background(), p); err != nil {
			fmt.Println(err)
		}
	}
	for _, v := range pipelinetest.Values(c, "out", serde.String()) {
		fmt.Println(v)
	}
	// Output:
	// 1: monday a
	// 2: monday b
	// 3: tuesday a
	// 4: tuesday b
}
