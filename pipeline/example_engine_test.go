package pipeline_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// A stage with state: it joins the words of a transaction into one record. What it
// holds back is put out before the commit, and forgotten when an abort will have
// the words replayed.
func ExampleHooks() {
	collect := func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var words []string
		var last pipeline.Record[string]
		sc.Hook(pipeline.Hooks{
			BeforeCommit: func(ctx context.Context) error {
				if len(words) == 0 {
					return nil
				}
				last.Value, words = strings.Join(words, " "), nil
				return next(ctx, &last)
			},
			Aborted: func() { words = nil },
		})
		return func(_ context.Context, r *pipeline.Record[string]) error {
			words, last = append(words, r.Value), *r
			return nil
		}
	}
	p := pipeline.New("sentences")
	words := pipeline.From(p, "words", serde.String())
	pipeline.To(pipeline.Apply(words, "collect", "collect", collect), "sentences", serde.String())

	c := pipelinetest.For(p)
	c.Feed("words", pipelinetest.Text("k", "water"), pipelinetest.Text("k", "to"), pipelinetest.Text("k", "the"), pipelinetest.Text("k", "mill"))
	c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, When: pipelinetest.Before, Kind: pipelinetest.Abortable})
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	fmt.Println(pipelinetest.Values(c, "sentences", serde.String()))
	// Output: [water to the mill]
}

// A run's counters are read through a handle that the caller keeps.
func ExampleStats() {
	p := pipeline.New("copy")
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("a", "1"), pipelinetest.Text("b", "2"))
	ctx, stop := context.WithCancel(context.Background())
	var stats pipeline.Stats
	done := make(chan error)
	source, sink := c.Ends()
	go func() { done <- pipeline.Run(ctx, p, source, sink, pipeline.Observe(&stats)) }()
	if err := c.AwaitFinished(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	s := stats.Snapshot()
	fmt.Println(s.Records, "records in,", s.Outputs, "out,", s.Committed, "committed")
	// Output: 2 records in, 2 out, 2 committed
}

// A test of an interceptor needs no broker.
func ExampleNewOutgoing() {
	onSend := func(o *pipeline.Outgoing) error {
		o.Headers = o.Headers.Set("length", strconv.AppendInt(nil, int64(len(o.Value().(string))), 10))
		return nil
	}
	o := pipeline.NewOutgoing(context.Background(), []byte("key"), nil, "water")
	fmt.Println(onSend(o))
	length, _ := o.Headers.Get("length")
	fmt.Printf("%s %s\n", o.Key(), length)
	// Output:
	// <nil>
	// key 5
}
