package kafka_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// A pipeline from one topic to another on a cluster, here an embedded one, until
// the end of the input.
func ExampleRun() {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "words"}, {Name: "lengths"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	if err := write(cluster.Brokers(), "words", "mill", "channel", "water"); err != nil {
		fmt.Println(err)
		return
	}

	p := pipeline.New("lengths")
	words := pipeline.From(p, "words", serde.String())
	lengths := stages.Map(words, "length", func(s string) (string, error) { return fmt.Sprintf("%s: %d", s, len(s)), nil })
	seen := stages.Peek(lengths, "print", func(s string) { fmt.Println(s) })
	pipeline.To(seen, "lengths", serde.String())

	var stats pipeline.Stats
	err = kafka.Run(context.Background(), p, kafka.Config{
		Brokers: cluster.Brokers(), UntilEnd: true, Stats: &stats, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	fmt.Println("committed:", stats.Snapshot().Committed, "error:", err)
	// Output:
	// mill: 4
	// channel: 7
	// water: 5
	// committed: 3 error: <nil>
}

// lengthAudit is an interceptor: it sees what a pipeline sends, as the value that it is,
// and hears where each record was written and how transactions end.
type lengthAudit struct{}

func (lengthAudit) OnSend(o *kafka.Outgoing) error {
	o.Headers = o.Headers.Set("length", fmt.Append(nil, len(o.Value().(string))))
	return nil
}

func (lengthAudit) OnAcknowledgement(r kafka.Result, err error) {
	fmt.Println("offset", r.Offset, "of", r.Topic, "error:", err)
}

func (lengthAudit) OnTransactionEnd(err error) { fmt.Println("transaction error:", err) }

// Interceptors of a pipeline: shipped ones, and one of its own.
func ExampleConfig_interceptors() {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "words", Partitions: 1}, {Name: "copies", Partitions: 1}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	if err := write(cluster.Brokers(), "words", "mill"); err != nil {
		fmt.Println(err)
		return
	}
	p := pipeline.New("copies")
	pipeline.To(pipeline.From(p, "words", serde.String()), "copies", serde.String())

	var latency kafka.LatencyHistogram
	var stats pipeline.Stats
	err = kafka.Run(context.Background(), p, kafka.Config{
		Brokers: cluster.Brokers(), UntilEnd: true, Stats: &stats, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Interceptors: []kafka.Interceptor{kafka.StampSendTime(), lengthAudit{}, &latency},
	})
	fmt.Println("latencies:", latency.Count(), "failures:", stats.Snapshot().InterceptorFailures, "error:", err)
	// Output:
	// offset 0 of copies error: <nil>
	// transaction error: <nil>
	// latencies: 1 failures: 0 error: <nil>
}

func write(brokers []string, topic string, values ...string) error {
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, cfg)
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, v := range values {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)}); err != nil {
			return err
		}
	}
	return nil
}

// Regions with a partition of their own, the rest hashed as Java's producer does.
func ExampleByRegion() {
	byRegion := kafka.ByRegion(map[string]int32{"us-east": 0, "eu-west": 2, kafka.DefaultRegion: 3})
	for _, key := range []string{"us-east:order-1", "us-east:order-2", "eu-west:order-1", "order-1"} {
		fmt.Println(key, byRegion.Partition("orders", []byte(key), nil, 4))
	}
	key := []byte("sa-east:order-1") // not mapped
	fmt.Println(byRegion.Partition("orders", key, nil, 4) == kafka.HashKey.Partition("orders", key, nil, 4))
	// Output:
	// us-east:order-1 0
	// us-east:order-2 0
	// eu-west:order-1 2
	// order-1 3
	// true
}

// A map of regions that is replaced while records are sent; it may as well come from a
// file, by RegionsFile, or from any function.
func ExampleRegions() {
	regions, err := kafka.NewRegions(map[string]int32{"us-east": 0})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := []byte("us-east:order-1")
	fmt.Println(regions.Partition("orders", key, nil, 4))
	if err := regions.Replace(map[string]int32{"us-east": 3}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(regions.Partition("orders", key, nil, 4))
	// Output:
	// 0
	// 3
}

// The default partitioner puts a key where Kafka's Java producer puts it.
func ExampleHashKey() {
	for _, key := range []string{"foobar", "abc", "customer-42"} {
		fmt.Println(key, kafka.HashKey.Partition("orders", []byte(key), nil, 12))
	}
	fmt.Println(kafka.HashKey.Partition("orders", nil, nil, 12) == pipeline.AnyPartition)
	// Output:
	// foobar 6
	// abc 3
	// customer-42 9
	// true
}

// Only Brokers is required. Validate reports every mistake at once.
func ExampleConfig() {
	cfg := kafka.Config{
		Brokers:        []string{"kafka-1:9092", "kafka-2:9092"},
		Instance:       "worker-1",
		CommitInterval: 10 * time.Second,
		Producer:       kafka.ProducerConfig{Compression: kafka.Zstd, TransactionTimeout: 20 * time.Second},
	}
	fmt.Println(cfg.Validate())

	cfg.Producer.TransactionTimeout = time.Minute
	fmt.Println(cfg.Validate())
	// Output:
	// invalid configuration: kafka.Config:
	// Producer.TransactionTimeout: 20s is less than three times CommitInterval (10s); slow commits would be aborted
	// <nil>
}

// What a rule of access has to name.
func ExampleConfig_TransactionalID() {
	fmt.Println(kafka.Config{Instance: "worker-1"}.TransactionalID("orders-by-region"))
	// Output:
	// leat-orders-by-region-worker-1-0
}

func ExampleProducerConfig_WithDefaults() {
	c := kafka.LowLatency().WithDefaults()
	fmt.Println(c.BatchSize, c.MaxRequestSize, c.Acks, c.MaxInFlight, c.Compression)
	// Output:
	// 16384 1048576 1 1 lz4
}
