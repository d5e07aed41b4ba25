package pipeline_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// clerk writes down what it is told. It wants to know of transactions and dead letters, so
// it has their methods.
type clerk struct{}

func (clerk) RunStarted(r *pipeline.Running) { fmt.Println(r.Pipeline.Name(), "starts") }

func (clerk) TransactionEnded(_ *pipeline.Running, t pipeline.TransactionEnd) {
	fmt.Println(t.Outcome, t.Reason, t.Records)
}

func (clerk) DeadLettered(_ *pipeline.Running, letters []pipeline.DeadLettered) {
	for _, l := range letters {
		fmt.Println("dead letter:", l.Record.Origin, "at", l.Stage)
	}
}

func (clerk) RunEnded(r *pipeline.Running, err error) {
	for _, s := range r.Stats.Snapshot().Stages {
		fmt.Println(s.Kind, s.Name, "in", s.In, "out", s.Out)
	}
	fmt.Println("error:", err)
}

// An observer of a run in which one commit is refused: its input is replayed and counts
// again.
func ExampleObservers() {
	p := pipeline.New("copy", pipeline.DeadLetter("bad"))
	good := stages.Check(pipeline.From(p, "in", serde.String()), "positive", func(v string) error {
		if v[0] == '-' {
			return errors.New("negative")
		}
		return nil
	})
	pipeline.To(good, "out", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	c.Feed("in", pipelinetest.Text("a", "1"), pipelinetest.Text("b", "-2"), pipelinetest.Text("c", "3"))
	c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, When: pipelinetest.Before, Kind: pipelinetest.Abortable})
	if err := c.Run(context.Background(), p, pipelinetest.Engine(pipeline.Observers(clerk{}))); err != nil {
		fmt.Println(err)
	}
	// Output:
	// copy starts
	// aborted commit 3
	// committed  3
	// dead letter: in[0]@1 at positive
	// input in in 6 out 6
	// check positive in 6 out 4
	// output out in 4 out 0
	// error: <nil>
}
