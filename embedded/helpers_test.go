package embedded_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/embedded"
)

// patience bounds what a test waits for; only a failing test waits that long.
const patience = 20 * time.Second

func noError(t *testing.T, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func start(t *testing.T, config embedded.Config) *embedded.Cluster {
	t.Helper()
	cluster, err := embedded.Start(config)
	noError(t, err, "start")
	t.Cleanup(func() { closed(t, cluster) })
	return cluster
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_0_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner // partition 0
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	return config
}

func client(t *testing.T, cluster *embedded.Cluster, adjust func(*sarama.Config)) sarama.Client {
	t.Helper()
	config := saramaConfig()
	if adjust != nil {
		adjust(config)
	}
	client, err := sarama.NewClient(cluster.Brokers(), config)
	noError(t, err, "client")
	t.Cleanup(func() { closed(t, client) })
	return client
}

func transactional(t *testing.T, cluster *embedded.Cluster) sarama.SyncProducer {
	t.Helper()
	producer, err := sarama.NewSyncProducerFromClient(client(t, cluster, func(config *sarama.Config) {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Transaction.ID = t.Name()
		config.Net.MaxOpenRequests = 1
	}))
	noError(t, err, "transactional producer")
	t.Cleanup(func() { closed(t, producer) })
	return producer
}

func inTransaction(t *testing.T, producer sarama.SyncProducer, topic, value string, end func() error) {
	t.Helper()
	noError(t, producer.BeginTxn(), "begin")
	_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
	noError(t, err, "send")
	noError(t, end(), "end the transaction")
}

// readCommitted returns the first n values of partition 0 that a reader of committed records gets.
func readCommitted(t *testing.T, cluster *embedded.Cluster, topic string, n int) []string {
	t.Helper()
	consumer, err := sarama.NewConsumerFromClient(client(t, cluster, nil))
	noError(t, err, "consumer")
	defer closed(t, consumer)
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	noError(t, err, "consume")
	defer closed(t, partition)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var values []string
	for len(values) < n {
		select {
		case message := <-partition.Messages():
			values = append(values, string(message.Value))
		case <-ctx.Done():
			t.Fatalf("read only %q of %d records", values, n)
		}
	}
	return values
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err, "listen")
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func portOf(listener net.Listener) int { return listener.Addr().(*net.TCPAddr).Port }

// freePorts returns n different ports that were free a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		noError(t, err, "listen")
		defer closed(t, listener)
		ports = append(ports, portOf(listener))
	}
	return ports
}
