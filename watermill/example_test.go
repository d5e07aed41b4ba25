package watermill_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
	"github.com/leat-stream/leat/watermill"
)

// What used watermill-kafka goes on with other imports.
func Example() {
	cluster, err := embedded.Start(embedded.Config{}) // a Kafka in this process
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	publisher, err := watermill.NewPublisher(watermill.PublisherConfig{Brokers: cluster.Brokers()}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	subscriber, err := watermill.NewSubscriber(watermill.SubscriberConfig{Brokers: cluster.Brokers(), ConsumerGroup: "greeters"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()

	err = publisher.Publish("greetings", message.NewMessage("1", []byte("hello")), message.NewMessage("2", []byte("world")))
	if err != nil {
		log.Fatal(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), "greetings")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		msg := <-messages
		fmt.Printf("%s: %s\n", msg.UUID, msg.Payload)
		msg.Ack()
	}
	// Output:
	// 1: hello
	// 2: world
}

// Messages with the same key go to one partition, and stay in order.
func ExampleNewWithPartitioningMarshaler() {
	marshaler := watermill.NewWithPartitioningMarshaler(func(_ string, msg *message.Message) (string, error) {
		return msg.Metadata.Get("customer"), nil
	})
	msg := message.NewMessage("1", []byte("tea"))
	msg.Metadata.Set("customer", "ada")
	record, err := marshaler.Marshal("orders", msg)
	if err != nil {
		log.Fatal(err)
	}
	key, err := record.Key.Encode()
	fmt.Printf("%s %v\n", key, err)
	// Output: ada <nil>
}

// accept is a handler as a Router has it.
func accept(msg *message.Message) ([]*message.Message, error) {
	accepted := message.NewMessage(msg.UUID+"-accepted", msg.Payload)
	return []*message.Message{accepted}, nil
}

// A handler with its middleware, as a stage: what it returns is committed with the
// message's position.
func ExampleHandler() {
	p := pipeline.New("accept")
	orders := pipeline.From(p, "orders", watermill.Messages())
	accepted := watermill.Handler(orders, "accept", accept, watermill.Middleware(middleware.Recoverer, middleware.CorrelationID))
	pipeline.To(accepted, "accepted", watermill.Messages())

	// kafka.Run runs it on a cluster, this in memory.
	c := pipelinetest.For(p)
	order := message.NewMessage("1", []byte("tea"))
	order.Metadata.Set("correlation_id", "c")
	c.Feed("orders", pipelinetest.Value(watermill.Messages(), order))
	if err := c.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
	for _, msg := range pipelinetest.Values(c, "accepted", watermill.Messages()) {
		fmt.Printf("%s: %s\n", msg.UUID, msg.Payload)
	}
	for _, r := range c.Records("accepted") {
		for _, h := range r.Headers {
			fmt.Printf("%s: %s\n", h.Key, h.Value)
		}
	}
	// Output:
	// 1-accepted: tea
	// _watermill_message_uuid: 1-accepted
	// correlation_id: c
}

// Middleware that a replay would break are refused before anything starts.
func ExampleMiddleware() {
	p := pipeline.New("accept")
	orders := pipeline.From(p, "orders", watermill.Messages())
	accepted := watermill.Handler(orders, "accept", accept, watermill.Middleware(middleware.InstantAck))
	pipeline.To(accepted, "accepted", watermill.Messages())
	fmt.Println(p.Validate())
	// Output:
	// invalid configuration: pipeline "accept":
	//   stage "accept": watermill.Middleware: middleware.InstantAck is refused: it acknowledges before the message is handled; a pipeline commits a record with its outputs, and neither without the other
}

// What a handler publishes by itself joins the transaction of its message.
func ExampleOutbox() {
	outbox := &watermill.Outbox{Topics: []string{"audit"}}
	p := pipeline.New("accept")
	orders := pipeline.From(p, "orders", watermill.Messages())
	accepted := watermill.Handler(orders, "accept", func(msg *message.Message) ([]*message.Message, error) {
		note := message.NewMessageWithContext(msg.Context(), "note-"+msg.UUID, []byte("seen"))
		if err := outbox.Publish("audit", note); err != nil {
			return nil, err
		}
		return accept(msg)
	}, watermill.Publishing(outbox))
	pipeline.To(accepted, "accepted", watermill.Messages())

	c := pipelinetest.For(p)
	c.Feed("orders", pipelinetest.Value(watermill.Messages(), message.NewMessage("1", []byte("tea"))))
	if err := c.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
	for _, msg := range pipelinetest.Values(c, "audit", watermill.Messages()) {
		fmt.Printf("%s: %s\n", msg.UUID, msg.Payload)
	}
	fmt.Println(outbox.Publish("audit", message.NewMessage("2", nil)))
	// Output:
	// note-1: seen
	// publish 1 messages to topic "audit": the message's context is not that of a record in a pipeline; give it the context of the message that is handled
}

// Messages and typed values go together: a stage makes messages of orders.
func ExampleMessages() {
	p := pipeline.New("announce")
	orders := pipeline.From(p, "orders", serde.String())
	messages := stages.Map(orders, "announce", func(order string) (*message.Message, error) {
		msg := message.NewMessage("for-"+order, []byte("ordered: "+order))
		msg.Metadata.Set("kind", "announcement")
		return msg, nil
	})
	pipeline.To(messages, "announcements", watermill.Messages())

	c := pipelinetest.For(p)
	c.Feed("orders", pipelinetest.Text("ada", "tea"))
	if err := c.Run(context.Background(), p); err != nil {
		log.Fatal(err)
	}
	for _, msg := range pipelinetest.Values(c, "announcements", watermill.Messages()) {
		fmt.Printf("%s: %s\n", msg.UUID, msg.Payload)
	}
	// Output: for-tea: ordered: tea
}

// As long as watermill-kafka writes to the same topic, keys must go where it puts them.
func ExampleSaramaHash() {
	config := watermill.PublisherConfig{Brokers: []string{"localhost:9092"}}
	config.Producer.Partitioner = watermill.SaramaHash
	fmt.Println(config.Validate())
	key := []byte("ada")
	fmt.Println(watermill.SaramaHash.Partition("orders", key, nil, 50), "and not", kafka.HashKey.Partition("orders", key, nil, 50))
	// Output:
	// <nil>
	// 13 and not 21
}
