//go:build real

package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/sinks/kafka"
)

func realStatePlace(t *testing.T) (*cluster, stateTopics, kafka.Config) {
	c, brokers, id := realCluster(t)
	c.Client = checktest.Dial(t, brokers, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	at := stateTopics{id + "-in", id + "-out", id + "-seen"}
	c.CreateTopic(at.seen, 4, compacted)
	return c, at, kafka.Config{
		Brokers: brokers, Group: id, Instance: "a", CommitInterval: 20 * time.Millisecond, Logger: silent,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
	}
}

// A real coordinator writes its markers after it has answered, and the group lasts longer
// than a member that is killed.
func TestRealDedupeOverRestarts(t *testing.T) {
	c, at, cfg := realStatePlace(t)
	exerciseDedupe(t, c, at, cfg, 6, 1500)
}

func TestRealAggregateOverRestarts(t *testing.T) {
	c, at, cfg := realStatePlace(t)
	exerciseAggregate(t, c, at, cfg, 6, 1500)
}

func TestRealStateIsReadToTheEndOfItsLog(t *testing.T) {
	c, at, cfg := realStatePlace(t)
	exerciseOpenState(t, c, at, cfg)
}
