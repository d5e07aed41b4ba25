package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

func TestConfigReportsAllMistakesAtOnce(t *testing.T) {
	bad := kafka.Config{
		Brokers: []string{"no-port"}, SASL: kafka.SASL{Mechanism: "MAGIC"}, Delivery: 7,
		CommitInterval: -1, CommitRecords: -1, CommitBytes: -1, Assignment: 9,
		SessionTimeout: time.Second, HeartbeatInterval: 2 * time.Second, RebalanceTimeout: -time.Second, FetchMaxBytes: -1,
		LeaveGroup: true, StopTimeout: -1,
		Producer: kafka.ProducerConfig{
			Compression: 77, Linger: -5 * time.Second, MaxRequestSize: -1, TransactionTimeout: -1, DeliveryTimeout: -1,
			BatchSize: -1, BufferMemory: -1, RequestTimeout: -1,
		},
	}
	err := bad.Validate()
	wantError(t, err, pipeline.ErrInvalid)
	for _, field := range []string{
		"Brokers", "SASL", "Delivery", "CommitInterval", "Assignment", "HeartbeatInterval", "RebalanceTimeout", "FetchMaxBytes", "LeaveGroup",
		"StopTimeout", "Producer.Compression", "Producer.Linger", "Producer.MaxRequestSize", "Producer.TransactionTimeout", "Producer.DeliveryTimeout",
		"Producer.BatchSize", "Producer.BufferMemory", "Producer.RequestTimeout",
	} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the error says nothing of %s:\n%v", field, err)
		}
	}
	// Run finds the same, before it connects.
	wantError(t, run(t, copying("copy"), bad), pipeline.ErrInvalid, "Brokers", "SASL")
}

func TestConfigsThatAreWrong(t *testing.T) {
	for says, cfg := range map[string]kafka.Config{
		"no address":              {},
		"three times":             {Brokers: []string{"b:1"}, CommitInterval: 10 * time.Second, Producer: kafka.ProducerConfig{TransactionTimeout: 20 * time.Second}},
		"a third":                 {Brokers: []string{"b:1"}, SessionTimeout: 6 * time.Second, HeartbeatInterval: 3 * time.Second},
		"static members":          {Brokers: []string{"b:1"}, LeaveGroup: true},
		"no attempt could":        {Brokers: []string{"b:1"}, Producer: kafka.ProducerConfig{DeliveryTimeout: 5 * time.Second}},
		"do not hold one batch":   {Brokers: []string{"b:1"}, Producer: kafka.ProducerConfig{BufferMemory: 1000}},
		"OAUTHBEARER needs Token": {Brokers: []string{"b:1"}, SASL: kafka.SASL{Mechanism: "OAUTHBEARER"}},
	} {
		wantError(t, cfg.Validate(), pipeline.ErrInvalid, says)
	}
}

func TestConfigsThatAreRight(t *testing.T) {
	for _, cfg := range []kafka.Config{
		{Brokers: []string{"b:1"}},
		{Brokers: []string{"[::1]:9092", "b:1"}, Producer: kafka.ProducerConfig{Linger: kafka.NoLinger}},
		{Brokers: []string{"b:1"}, CommitInterval: time.Minute},
		{Brokers: []string{"b:1"}, Instance: "a", LeaveGroup: true, Delivery: pipeline.AtLeastOnce, Assignment: kafka.Range},
	} {
		noError(t, cfg.Validate(), "validate")
	}
}

// Every codec works, and none loses the order.
func TestCompression(t *testing.T) {
	t.Parallel()
	for _, codec := range []kafka.Compression{kafka.LZ4, kafka.NoCompression, kafka.Snappy, kafka.Gzip, kafka.Zstd} {
		t.Run(string(rune('0'+codec)), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			c.Prefill("in", 500)
			cfg := c.config()
			cfg.Producer.Compression, cfg.Producer.Linger = codec, kafka.NoLinger
			noError(t, run(t, copying("copy"), cfg), "run")
			if err := c.Compare("in", "out", 500).Exact(); err != nil {
				t.Error(err)
			}
		})
	}
}
