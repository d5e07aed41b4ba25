package stages_test

import (
	"context"
	"errors"
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

// The tenant is in a header, and the name becomes the key.
func ExampleEnrichAsyncRecord() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	full := stages.EnrichAsyncRecord(in, "user",
		func(_ context.Context, r *pipeline.Record[string]) (string, error) {
			tenant, ok := r.Headers.Get("tenant")
			if !ok {
				return "", errors.New("no tenant")
			}
			return string(tenant) + "-" + r.Value, nil
		}, userService{},
		func(_ context.Context, r *pipeline.Record[string], name string) (pipeline.Record[string], error) {
			out := pipeline.With(r, r.Value)
			out.Key = []byte(name)
			return out, nil
		}, stages.AsyncConfig{})
	pipeline.To(full, "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "7").Header("tenant", "acme"))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, r := range c.Records("out") {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output:
	// user acme-7: 7
}

func ExampleCachedMany() {
	users := stages.CachedMany(userService{}, stages.CachedConfig{NegativeTTL: time.Minute})
	ctx := context.Background()
	for _, ids := range [][]string{{"7", "8"}, {"7", "8", "9"}} { // the second asks for 9 only
		names, err := users.GetMany(ctx, ids)
		fmt.Println(names, err)
	}
	fmt.Printf("%d hits, %d misses\n", users.Stats().Hits, users.Stats().Misses)
	// Output:
	// map[7:user 7 8:user 8] <nil>
	// map[7:user 7 8:user 8] <nil>
	// 2 hits, 3 misses
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
