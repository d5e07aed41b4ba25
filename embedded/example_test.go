package embedded_test

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/embedded"
)

func Example() {
	cluster, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "orders", Partitions: 4}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(cluster.Brokers(), config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close()
	_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("first")})
	fmt.Println("offset", offset, err)

	registry, err := sr.NewClient(sr.URLs(cluster.RegistryURL()))
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := registry.RegisterSchema(context.Background(), "orders-value", sr.Schema{Schema: `"string"`}, -1, -1)
	fmt.Println("schema", id, err)
	// Output:
	// offset 0 <nil>
	// schema 1 <nil>
}

func ExampleConfig_Validate() {
	config := embedded.Config{
		Brokers:    -1,
		SyncWrites: true,
		Topics:     []embedded.Topic{{Name: "two words"}},
	}
	fmt.Println(config.Validate())
	// Output:
	// embedded: Brokers: -1 is negative
	// embedded: SyncWrites: there is nothing to write without DataDir
	// embedded: Topics[0].Name: "two words" contains ' '
}
