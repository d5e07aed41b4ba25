package wmsink_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	wmsink "github.com/leat-stream/leat/sinks/watermill"
	wmsource "github.com/leat-stream/leat/sources/watermill"
	"github.com/leat-stream/leat/stages"
)

// Both ends are Watermill's, of whatever kind: here a channel in this process.
func Example() {
	channel := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	if err := channel.Publish("greetings", message.NewMessage("1", []byte("hello"))); err != nil {
		log.Fatal(err)
	}
	p := pipeline.New("shout")
	greetings := pipeline.From(p, "greetings", serde.String())
	loud := stages.Map(greetings, "loud", func(s string) (string, error) { return strings.ToUpper(s) + "!", nil })
	pipeline.To(loud, "loud", serde.String())

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- pipeline.Run(ctx, p,
			wmsource.New(wmsource.Config{Subscriber: channel}), wmsink.New(wmsink.Config{Publisher: channel}),
			pipeline.Require(pipeline.AtLeastOnce)) // what such a pair can promise
	}()
	messages, err := channel.Subscribe(ctx, "loud")
	if err != nil {
		log.Fatal(err)
	}
	msg := <-messages
	fmt.Printf("%s: %s\n", msg.UUID, msg.Payload)
	msg.Ack()
	cancel()
	fmt.Println(<-done)
	// Output:
	// 1: HELLO!
	// <nil>
}
