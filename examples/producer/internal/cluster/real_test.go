//go:build real

package cluster

import (
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
)

// What an example that was killed has left is gone at the next start, and nothing is left
// after Stop.
func TestRealTopicsAreMadeAnew(t *testing.T) {
	if os.Getenv("LEAT_TEST_BROKERS") == "" {
		t.Fatal("LEAT_TEST_BROKERS must name a Kafka for tests")
	}
	setFlag(t, "brokers", os.Getenv("LEAT_TEST_BROKERS"))
	topic := embedded.Topic{Name: "leat-example-cluster", Partitions: 2}
	for range 2 {
		c, err := Start(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Stop)
		if left, err := c.Read(t.Context(), topic.Name, 0); err != nil || len(left) != 0 {
			t.Fatalf("%d records are left, error %v", len(left), err)
		}
		write := func(k *kgo.Client) error {
			return k.ProduceSync(t.Context(), &kgo.Record{Topic: topic.Name, Value: []byte("left")}).FirstErr()
		}
		if err := c.withClient(write); err != nil {
			t.Fatal(err)
		}
		if there, err := c.Read(t.Context(), topic.Name, 1); err != nil || len(there) != 1 {
			t.Fatalf("%d records are there, error %v", len(there), err)
		}
	}
	c, err := Start(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	c.Stop()
	if err := c.withClient(func(k *kgo.Client) error {
		return await(t.Context(), "deleted", func() bool { return !known(t.Context(), k, topic.Name, 2) })
	}); err != nil {
		t.Error(err)
	}
}
