// Package kafkasource reads Kafka topics as a member of a consumer group, and
// compacted topics as tables. Most users import only sinks/kafka, whose Run ties
// this source to the producer; use it directly to feed a sink of another kind.
package kafkasource

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
)

// Assignment is how partitions are shared between the members of a group.
// Kafka's name for it is partition.assignment.strategy.
type Assignment uint8

const (
	// CooperativeSticky moves only the partitions that have to move; the others
	// go on during a rebalance. It is the default.
	CooperativeSticky Assignment = iota
	// Range gives everything up at each rebalance and assigns ranges: eager. All
	// members of a group must use the same protocol, cooperative or eager.
	Range
	// RoundRobin is eager, one partition after the other.
	RoundRobin
)

// Start says where to begin in partitions for which the group has no committed
// position. Kafka's name for it is auto.offset.reset.
type Start struct {
	at time.Time
	// latest and at exclude each other; neither is earliest.
	latest bool
}

// The starts. The zero Start is Earliest: nothing is missed.
var (
	Earliest = Start{}
	Latest   = Start{latest: true}
)

// StartAt begins with the first record of time t or later. The positions are
// committed to the group before the first read, so that every worker uses the
// same ones.
func StartAt(t time.Time) Start { return Start{at: t} }

// Config configures a [Source]. Brokers is required; every other field's zero
// value means its default.
type Config struct {
	// Brokers are the bootstrap addresses, host:port. Kafka: bootstrap.servers.
	Brokers []string
	// ClientID is Kafka's client.id. Default: leat.
	ClientID string
	// TLS, if not nil, encrypts every connection; kafka.TLSFiles makes the usual one. It must
	// verify the broker and be of version 1.2 or later. Kafka: security.protocol, ssl.*.
	TLS *tls.Config
	// AllowInsecureTLS permits TLS below version 1.2, or without a check of the
	// broker's certificate: whoever is between can read and change everything.
	AllowInsecureTLS bool
	// SASL, if its mechanism is not empty, authenticates every connection.
	SASL SASL
	// Group is the consumer group, Kafka's group.id. Default: the pipeline's name.
	Group string
	// Instance names this worker: it becomes a static member (Kafka:
	// group.instance.id) and keeps its partitions over a restart. Default: none,
	// a dynamic member.
	Instance string
	// Start is where to begin without a committed position. Default: Earliest.
	Start Start
	// ResetOutOfRange goes on from Start when a committed position is no longer
	// in the log. The default is to fail: records have been lost.
	ResetOutOfRange bool
	// Assignment is how partitions are shared. Default: CooperativeSticky.
	Assignment Assignment
	// SessionTimeout is how long the broker waits for a sign of life before it
	// gives the partitions to others. Kafka: session.timeout.ms. Default: 45 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between signs of life. Kafka:
	// heartbeat.interval.ms. Default: 3 s, at most a third of SessionTimeout.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a rebalance waits for this worker. Kafka:
	// max.poll.interval.ms. Default: 60 s.
	RebalanceTimeout time.Duration
	// FetchMaxBytes bounds one fetch of one partition, as it comes over the wire. A
	// partition is fetched ahead while less than half of that waits uncompressed;
	// when 64 MiB wait in all, only partitions that have nothing are fetched.
	// Kafka: max.partition.fetch.bytes. Default: 1 MiB.
	FetchMaxBytes int
	// LeaveGroup makes a static member leave the group at its end, so that its
	// partitions are given to others at once. Dynamic members always leave.
	LeaveGroup bool
	// UntilEnd ends Run when the group's committed positions have reached, on
	// every partition, the ends as of this worker's start. What the pipeline has made
	// of these records for inputs of its own is waited for, too: what it retries later
	// (pipeline.RetryTopics), until it has come through or is a dead letter. A worker
	// that has nothing left to do stays while others work.
	UntilEnd bool
	// Logger is where sessions and retries are logged. Default: slog.Default().
	Logger *slog.Logger
}

// SASL are the credentials of every connection. The package sinks/kafka has what makes
// its secrets and tokens.
type SASL = cluster.SASL

const (
	defaultSessionTimeout   = 45 * time.Second
	defaultHeartbeat        = 3 * time.Second
	defaultRebalanceTimeout = 60 * time.Second
	defaultFetchMaxBytes    = 1 << 20
)

func (c Config) withDefaults(pipelineName string) Config {
	if c.Group == "" {
		c.Group = pipelineName
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = defaultSessionTimeout
	}
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = min(defaultHeartbeat, c.SessionTimeout/3)
	}
	if c.RebalanceTimeout == 0 {
		c.RebalanceTimeout = defaultRebalanceTimeout
	}
	if c.FetchMaxBytes == 0 {
		c.FetchMaxBytes = defaultFetchMaxBytes
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	bad = append(bad, c.cluster().Mistakes()...)
	if c.Assignment > RoundRobin {
		report("Assignment: %d is not known", c.Assignment)
	}
	for name, d := range map[string]time.Duration{"SessionTimeout": c.SessionTimeout, "HeartbeatInterval": c.HeartbeatInterval, "RebalanceTimeout": c.RebalanceTimeout} {
		if d < 0 || d > 0 && d < time.Millisecond {
			report("%s: %v is not a time-out; use a millisecond or more", name, d)
		}
	}
	if c.HeartbeatInterval > 0 && c.SessionTimeout > 0 && c.HeartbeatInterval > c.SessionTimeout/3 {
		report("HeartbeatInterval: %v is more than a third of SessionTimeout (%v); one lost heartbeat would end the session", c.HeartbeatInterval, c.SessionTimeout)
	}
	if c.FetchMaxBytes < 0 {
		report("FetchMaxBytes must not be negative")
	}
	if c.LeaveGroup && c.Instance == "" {
		report("LeaveGroup is for static members; a dynamic one always leaves")
	}
	return errors.Join(bad...)
}

func (c Config) cluster() cluster.Config {
	id := c.ClientID
	if id == "" {
		id = "leat"
	}
	return cluster.Config{Brokers: c.Brokers, ClientID: id, TLS: c.TLS, AllowInsecureTLS: c.AllowInsecureTLS, SASL: c.SASL}
}
