package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/embedded"
)

// Partitions that are added to an output topic are used, and nothing is lost or
// refused meanwhile.
func TestPartitionsAreAdded(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1)}})
		cfg := c.config()
		cfg.UntilEnd, cfg.Delivery, cfg.Producer.MetadataMaxAge = false, g, 20*time.Millisecond
		r := launch(t, copying("copy"), cfg)
		n := 0
		more := func() {
			c.Produce(numbered("in", n, n+20)...)
			n += 20
			c.Await("the copies", func() bool { return c.positions("copy", "in") >= int64(n) })
		}
		more()
		c.AddPartitions("out", 3)
		c.Await("records in the new partitions", func() bool {
			more()
			ends := c.Ends("out", true)
			return ends[1] > 0 && ends[2] > 0
		})
		r.stop()
		if got := len(unique(values(c.ReadAll("out")))); got != n {
			t.Errorf("%v: %d different records came out, want %d", g, got, n)
		}
	}
}
