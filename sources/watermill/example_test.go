package wmsource_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	wmsource "github.com/leat-stream/leat/sources/watermill"
	"github.com/leat-stream/leat/stages"
)

// From any subscriber into Kafka: at least once, and Run refuses more.
func Example() {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "copies"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	channel := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	if err := channel.Publish("greetings", message.NewMessage("1", []byte("hello"))); err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	p := pipeline.New("copy")
	seen := stages.Peek(pipeline.From(p, "greetings", serde.String()), "see", func(v string) {
		fmt.Println(v)
		stop() // when this one is written and acknowledged
	})
	pipeline.To(seen, "copies", serde.String())
	run := func(g pipeline.Guarantee) error {
		source := wmsource.New(wmsource.Config{Subscriber: channel})
		return pipeline.Run(ctx, p, source, kafka.NewSink(kafka.Config{Brokers: cluster.Brokers()}), pipeline.Require(g))
	}
	fmt.Println("refused:", errors.Is(run(pipeline.ExactlyOnce), pipeline.ErrGuarantee))
	fmt.Println(run(pipeline.AtLeastOnce))
	// Output:
	// refused: true
	// hello
	// <nil>
}
