package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// The settings that sources/kafka defines, so that most users import only this
// package.
type (
	// Assignment is how partitions are shared between workers.
	Assignment = kafkasource.Assignment
	// Start says where to begin without a committed position.
	Start = kafkasource.Start
)

// See the package sources/kafka.
const (
	CooperativeSticky = kafkasource.CooperativeSticky
	Range             = kafkasource.Range
	RoundRobin        = kafkasource.RoundRobin
)

// ErrUnreachable says that no bootstrap address answered.
var ErrUnreachable = cluster.ErrUnreachable

// Where to begin in partitions without a committed position.
var (
	// Earliest begins at the beginning; it is the zero value.
	Earliest = kafkasource.Earliest
	// Latest begins with what comes.
	Latest = kafkasource.Latest
)

// StartAt begins with the first record of time t or later.
func StartAt(t time.Time) Start { return kafkasource.StartAt(t) }

// Config configures [Run]. Brokers is required; every other field's zero value
// means its default, and together they mean exactly once.
type Config struct {
	// Brokers are the bootstrap addresses, host:port. Kafka: bootstrap.servers.
	Brokers []string
	// ClientID is Kafka's client.id. Default: leat.
	ClientID string
	// TLS, if not nil, encrypts every connection; [TLSFiles] makes the usual one. It must
	// verify the broker and be of version 1.2 or later. Kafka: security.protocol, ssl.*.
	TLS *tls.Config
	// AllowInsecureTLS permits TLS below version 1.2, or without a check of the
	// broker's certificate: whoever is between can read and change everything.
	AllowInsecureTLS bool
	// SASL, if its mechanism is not empty, authenticates every connection.
	SASL SASL

	// Delivery is the guarantee. Default: pipeline.ExactlyOnce.
	Delivery pipeline.Guarantee
	// Group is the consumer group, Kafka's group.id. Default: the pipeline's name.
	Group string
	// Instance names this worker among those of its group. It becomes a static
	// member (Kafka: group.instance.id) with a transactional id of its own that
	// is the same after a restart, so that what it left open is ended at once.
	// No two workers may run under one name at the same time. Default: a dynamic
	// member with a random name.
	Instance string
	// Application is the first part of the transactional id. Default: leat. The
	// id is application-group-instance-slot.
	Application string

	// CommitInterval ends a transaction. Kafka Streams: commit.interval.ms.
	// Default: 100 ms.
	CommitInterval time.Duration
	// CommitRecords ends a transaction early after so many input records.
	// Default: 100,000.
	CommitRecords int64
	// CommitBytes ends a transaction early after so many bytes of keys and
	// values, input and output together; it bounds the memory for a replay.
	// Default: 32 MiB.
	CommitBytes int64

	// Start is where to begin without a committed position. Kafka:
	// auto.offset.reset. Default: Earliest.
	Start Start
	// ResetOutOfRange goes on from Start when a committed position is no longer
	// in the log. The default is to fail: records have been lost.
	ResetOutOfRange bool
	// Assignment is how partitions are shared. Kafka:
	// partition.assignment.strategy. Default: CooperativeSticky.
	Assignment Assignment
	// SessionTimeout is how long the broker waits for a sign of life. Kafka:
	// session.timeout.ms. Default: 45 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between signs of life. Kafka:
	// heartbeat.interval.ms. Default: 3 s, at most a third of SessionTimeout.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a rebalance waits for this worker. Kafka:
	// max.poll.interval.ms. Default: 60 s.
	RebalanceTimeout time.Duration
	// FetchMaxBytes bounds one fetch of one partition. Kafka:
	// max.partition.fetch.bytes. Default: 1 MiB.
	FetchMaxBytes int
	// LeaveGroup makes a static member leave the group at its end.
	LeaveGroup bool
	// UntilEnd ends Run when the group's committed positions have reached, on
	// every input partition, the ends as of this worker's start, and what is retried
	// later of that has been retried.
	UntilEnd bool

	// Interceptors see every output, dead letter and record for a retry topic, in this
	// order, and are told what became of it; see Interceptor. Failures are in Stats.
	// Kafka: interceptor.classes.
	Interceptors []Interceptor
	// Producer holds what concerns the producer.
	Producer ProducerConfig

	// StopTimeout bounds an orderly stop. Default: 10 s.
	StopTimeout time.Duration
	// Stats, if not nil, makes the counters readable.
	Stats *pipeline.Stats
	// Observers are told how the run goes: metrics, the console.
	Observers []pipeline.Observer
	// Logger is where sessions, aborts and retries are logged, never records.
	// Default: slog.Default().
	Logger *slog.Logger
	// OnAssigned and OnRevoked are called for each partition received, and
	// given up after its last commit. They must not block.
	OnAssigned, OnRevoked func(pipeline.Partition)
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	bad = append(bad, c.source().Validate())
	interval := c.CommitInterval
	if interval == 0 {
		interval = pipeline.DefaultCommitInterval
	}
	bad = append(bad, c.Producer.mistakes(interval)...)
	bad = append(bad, c.Producer.unfitForPipelines()...)
	bad = append(bad, missingInterceptors(c.Interceptors)...)
	if c.CommitInterval < 0 || c.CommitRecords < 0 || c.CommitBytes < 0 {
		bad = append(bad, errors.New("the bounds of a transaction (CommitInterval, CommitRecords, CommitBytes) must not be negative"))
	}
	if c.StopTimeout < 0 {
		bad = append(bad, errors.New("StopTimeout must not be negative"))
	}
	if c.Delivery > pipeline.AtLeastOnce {
		bad = append(bad, fmt.Errorf("no such guarantee: Delivery is %d", c.Delivery))
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: kafka.Config:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

func (c Config) source() kafkasource.Config {
	return kafkasource.Config{
		Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, AllowInsecureTLS: c.AllowInsecureTLS, SASL: c.SASL,
		Group: c.Group, Instance: c.Instance, Start: c.Start, ResetOutOfRange: c.ResetOutOfRange, Assignment: c.Assignment,
		SessionTimeout: c.SessionTimeout, HeartbeatInterval: c.HeartbeatInterval, RebalanceTimeout: c.RebalanceTimeout,
		FetchMaxBytes: c.FetchMaxBytes, LeaveGroup: c.LeaveGroup, UntilEnd: c.UntilEnd, Logger: c.Logger,
	}
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

func (c Config) cluster() cluster.Config {
	id := c.ClientID
	if id == "" {
		id = "leat"
	}
	return cluster.Config{Brokers: c.Brokers, ClientID: id, TLS: c.TLS, AllowInsecureTLS: c.AllowInsecureTLS, SASL: c.SASL}
}
