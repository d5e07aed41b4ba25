package kafkasource_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// The source with a sink of one's choice, here Kafka's: pipeline.Run is the
// general form of kafka.Run.
func ExampleNew() {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "in"}, {Name: "out"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	p := pipeline.New("copy")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())

	source := kafkasource.New(kafkasource.Config{Brokers: cluster.Brokers(), Start: kafkasource.Earliest, UntilEnd: true})
	sink := kafka.NewSink(kafka.Config{Brokers: cluster.Brokers()})
	err = pipeline.Run(context.Background(), p, source, sink,
		pipeline.Require(pipeline.ExactlyOnce), pipeline.Logger(slog.New(slog.DiscardHandler)))
	fmt.Println("stopped:", err)
	// Output: stopped: <nil>
}
