package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/embedded"
)

const topicPartitions = 4

// topics are all that the job reads and writes, with their settings where they
// differ from the broker's.
var topics = []embedded.Topic{
	{Name: "orders", Partitions: topicPartitions},
	{Name: "customers", Partitions: topicPartitions, Config: map[string]string{"cleanup.policy": "compact"}},
	{Name: "orders.enriched", Partitions: topicPartitions},
	{Name: "orders.review", Partitions: topicPartitions},
	{Name: "orders.dlq", Partitions: topicPartitions, Config: map[string]string{"message.timestamp.type": "LogAppendTime"}},
}

// createTopics creates the topics that do not exist yet and returns when every
// broker that may be asked knows them.
func createTopics(ctx context.Context, brokers []string) error {
	conf := sarama.NewConfig()
	conf.ClientID = "orders"
	conf.Net.DialTimeout, conf.Net.ReadTimeout, conf.Net.WriteTimeout = 3*time.Second, 10*time.Second, 10*time.Second
	conf.Metadata.Retry.Max = 1 // a wrong address is found soon
	conf.Metadata.AllowAutoTopicCreation = false
	client, err := sarama.NewClient(brokers, conf)
	if err != nil {
		return fmt.Errorf("create topics: no broker answers at %s: %w", strings.Join(brokers, ","), err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return errors.Join(fmt.Errorf("create topics: %w", err), client.Close())
	}
	defer func() { _ = admin.Close() }() // closes the client, too

	replicas := int16(min(3, len(client.Brokers())))
	names := make([]string, 0, len(topics))
	for _, t := range topics {
		names = append(names, t.Name)
		detail := &sarama.TopicDetail{NumPartitions: int32(t.Partitions), ReplicationFactor: replicas, ConfigEntries: map[string]*string{}}
		for k, v := range t.Config {
			detail.ConfigEntries[k] = &v
		}
		if err := admin.CreateTopic(t.Name, detail, false); err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("create topic %q: %w", t.Name, err)
		}
	}
	return awaitTopics(ctx, client, names)
}

// awaitTopics waits until the topics have leaders: a broker hears of a new topic a
// moment after the controller that created it.
func awaitTopics(ctx context.Context, client sarama.Client, names []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("not known to all brokers after 10 s"))
	defer cancel()
	for {
		err := client.RefreshMetadata(names...)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("create topics: %w (%w)", context.Cause(ctx), err)
		}
	}
}
