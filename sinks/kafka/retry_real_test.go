//go:build real

package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/sinks/kafka"
)

// Records fail n times, and each ends exactly once in the output or among the dead letters,
// while one worker joins the other and that one leaves.
func TestRealRetryLater(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-dlq", 1, nil)
	c.CreateTopic(id+"-in.retry.1s", 3, nil)
	c.CreateTopic(id+"-in.retry.2s", 2, nil)
	exerciseRetries(t, c, kafka.Config{
		Brokers: brokers, Group: id, CommitInterval: 20 * time.Millisecond, Logger: silent,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
	}, id+"-", 20_000, time.Second, 2*time.Second)
}

// The same with the order of keys.
func TestRealRetryInOrder(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-dlq", 1, nil)
	c.CreateTopic(id+"-in.retry", 3, nil)
	c.CreateTopic(id+"-in.retry.marks", 2, map[string]string{"cleanup.policy": "compact"})
	exerciseOrder(t, c, kafka.Config{
		Brokers: brokers, Group: id, CommitInterval: 20 * time.Millisecond, Logger: silent,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
	}, id+"-", 4_000, 10*time.Millisecond)
}
