package watermill_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/watermill"
)

// What used watermill-kafka goes on with other imports.
func Example() {
	kafka, err := embedded.Start(embedded.Config{}) // a Kafka in this process
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()

	publisher, err := watermill.NewPublisher(watermill.PublisherConfig{Brokers: kafka.Brokers()}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	subscriber, err := watermill.NewSubscriber(watermill.SubscriberConfig{Brokers: kafka.Brokers(), ConsumerGroup: "greeters"}, nil)
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
