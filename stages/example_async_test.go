package stages_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// userService looks users up one by one or together.
type userService struct{}

func (userService) Get(ctx context.Context, id string) (string, bool, error) {
	time.Sleep(time.Millisecond)
	return "user " + id, id != "9", ctx.Err()
}

func (s userService) GetMany(ctx context.Context, ids []string) (map[string]string, error) {
	found := map[string]string{}
	for _, id := range ids {
		if name, ok, err := s.Get(ctx, id); err != nil {
			return nil, err
		} else if ok {
			found[id] = name
		}
	}
	return found, nil
}

func ExampleEnrichAsync() {
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.String())
	full := stages.EnrichAsync(in, "user", func(id string) string { return id }, userService{},
		func(id, name string) string { return id + " is " + name },
		stages.AsyncConfig{Concurrency: 4, BatchSize: 50, PerSecond: 200, Burst: 10, BreakAfter: 20},
		pipeline.Timeout(time.Second), pipeline.OnError(pipeline.Retry(3, pipeline.Backoff{}, pipeline.ToDeadLetter)))
	pipeline.To(full, "out", serde.String())

	c := pipelinetest.For(p)
	for _, id := range []string{"7", "9", "8"} {
		c.Feed("in", pipelinetest.Text("k", id))
	}
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, topic := range []string{"out", "in.dlq"} {
		for _, r := range c.Records(topic) {
			fmt.Printf("%s: %s\n", topic, r.Value)
		}
	}
	// Output:
	// out: 7 is user 7
	// out: 8 is user 8
	// in.dlq: 9
}

func ExampleEnrichAsyncOptional() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	named := stages.EnrichAsyncOptional(in, "user", func(id string) string { return id }, userService{},
		func(id, name string, found bool) string {
			if !found {
				return id + " is unknown"
			}
			return id + " is " + name
		}, stages.AsyncConfig{Concurrency: 4})
	pipeline.To(named, "out", serde.String())

	c := pipelinetest.For(p)
	for _, id := range []string{"7", "9", "8"} {
		c.Feed("in", pipelinetest.Text("k", id))
	}
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, r := range c.Records("out") {
		fmt.Printf("%s\n", r.Value)
	}
	// Output:
	// 7 is user 7
	// 9 is unknown
	// 8 is user 8
}

func ExampleParallel() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	drawn := stages.Parallel(in, "draw", 4, func(s string) (string, error) {
		return strings.Repeat("#", len(s)), nil // something that takes its time
	})
	pipeline.To(drawn, "out", serde.String())

	c := pipelinetest.For(p)
	for _, v := range []string{"ccc", "a", "bb"} {
		c.Feed("in", pipelinetest.Text("k", v))
	}
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, r := range c.Records("out") {
		fmt.Printf("%s\n", r.Value)
	}
	// Output:
	// ###
	// #
	// ##
}
