package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// The first is the outermost: here what is outside of Retry runs once, what is inside
// runs with each try.
func Example() {
	mark := func(name string) pipeline.Option {
		return pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				fmt.Println("into", name)
				defer fmt.Println("out of", name)
				return next(ctx, r)
			}
		})
	}
	p := pipeline.New("example",
		mark("first"),
		middleware.RateLimit(1000, 10),
		middleware.Retry(1, pipeline.Backoff{Initial: time.Millisecond}),
		middleware.Timeout(time.Minute),
		mark("last"),
		middleware.Recover(),
	)
	tries := 0
	in := pipeline.From(p, "in", serde.String())
	flaky := stages.Peek(in, "flaky", func(string) {
		if tries++; tries == 1 {
			panic("not yet")
		}
		fmt.Println("chain")
	})
	pipeline.To(flaky, "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v"))
	fmt.Println(c.Run(context.Background(), p))
	// Output:
	// into first
	// into last
	// out of last
	// into last
	// chain
	// out of last
	// out of first
	// <nil>
}

func ExamplePropagateHeaders() {
	p := pipeline.New("example", middleware.PropagateHeaders(middleware.Headers{
		Deny:     []string{"cookie", "internal-*"},
		Rename:   map[string]string{"x-request-id": "request-id"},
		Add:      []pipeline.Header{{Key: "source", Value: []byte("mill")}},
		MaxBytes: 1024,
	}))
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v").
		Header("x-request-id", "17").Header("cookie", "secret").Header("internal-host", "a").Header("source", "shop"))
	fmt.Println(c.Run(context.Background(), p))
	for _, h := range c.Records("out")[0].Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	// Output:
	// <nil>
	// request-id: 17
	// source: mill
}

func ExampleHeaders_Validate() {
	fmt.Println(middleware.Headers{Allow: []string{"*-id"}, MaxBytes: -1}.Validate())
	// Output:
	// invalid configuration: middleware.Headers:
	// Allow: "*-id" has a * that is not at its end
	// MaxBytes must not be negative
}

func ExampleRetry() {
	p := pipeline.New("example", middleware.Retry(3, pipeline.Backoff{Initial: time.Millisecond}))
	tries := 0
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Check(in, "flaky", func(string) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	}), "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v"))
	fmt.Println(c.Run(context.Background(), p), tries, "tries")
	// Output: <nil> 3 tries
}

func ExampleTimeout() {
	p := pipeline.New("example", middleware.Timeout(time.Millisecond))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.CheckCtx(in, "slow", func(ctx context.Context, _ string) error {
		<-ctx.Done() // a call with this context would return, too
		return errors.New("no answer")
	}), "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v").On(0))
	err := c.Run(context.Background(), p)
	fmt.Println(errors.Is(err, middleware.ErrTimeout), err)
	// Output: true pipeline "example", stage "slow", record in[0]@0: the chain took too long: context deadline exceeded after 1ms: no answer
}

func ExampleRecover() {
	report := pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			err := next(ctx, r)
			fmt.Println("seen:", err)
			return err
		}
	})
	p := pipeline.New("example", pipeline.OnError(pipeline.Skip), report, middleware.Recover())
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Peek(in, "buggy", func(string) { panic("a bug") }), "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "v").On(0))
	fmt.Println(c.Run(context.Background(), p))
	// Output:
	// seen: pipeline "example", stage "buggy", record in[0]@0: panic: a bug
	// <nil>
}

func ExampleRateLimit() {
	p := pipeline.New("example", middleware.RateLimit(100, 1))
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())

	c := pipelinetest.For(p)
	for range 4 {
		c.Feed("in", pipelinetest.Text("k", "v"))
	}
	began := time.Now()
	err := c.Run(context.Background(), p)
	fmt.Println(err, time.Since(began) >= 30*time.Millisecond)
	// Output: <nil> true
}
