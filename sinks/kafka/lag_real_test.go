//go:build real

package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/sinks/kafka"
)

// The embedded cluster has the markers at once; this one writes them when it has time.
func TestRealLag(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	exerciseLag(t, c, topic, topic+"-out", kafka.Config{Brokers: brokers, Group: topic, CommitInterval: 20 * time.Millisecond, Logger: silent})
}
