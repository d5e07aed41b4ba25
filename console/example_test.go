package console_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// A console observes a run and answers for it. With Kafka it goes into
// kafka.Config.Observers.
func Example() {
	live, err := console.New(console.Config{})
	if err != nil {
		panic(err)
	}
	p := pipeline.New("example")
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	cluster := pipelinetest.For(p)
	cluster.Feed("in", pipelinetest.Text("k", "v"))
	if err := cluster.Run(context.Background(), p, pipelinetest.Engine(pipeline.Observers(live))); err != nil {
		panic(err)
	}

	for _, path := range []string{"/healthz", "/readyz"} {
		answer := httptest.NewRecorder()
		live.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		fmt.Printf("%s %d %s", path, answer.Code, answer.Body)
	}
	// Output:
	// /healthz 200 ok
	// /readyz 503 no pipeline runs
}

// A process without an HTTP server of its own lets the console have one, on this
// machine alone, until the context ends.
func ExampleConsole_Serve() {
	live, err := console.New(console.Config{Title: "orders"})
	if err != nil {
		panic(err)
	}
	listener, err := console.Listen(":0") // ":8080" is 127.0.0.1:8080
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- live.Serve(ctx, listener) }()
	// err = kafka.Run(ctx, p, kafka.Config{Observers: []pipeline.Observer{live}, …})
	cancel()
	fmt.Println(<-served)
	// Output: <nil>
}
