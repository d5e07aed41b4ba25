package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
)

// A topic that is deleted ends the pipeline, with the topic's name: it would else wait
// for it, or try again, for ever.
func TestTopicIsDeleted(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		for _, deleted := range []string{"in", "out"} {
			t.Run(g.String()+"/"+deleted, func(t *testing.T) {
				t.Parallel()
				c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 2), topic("out", 2)}})
				cfg := c.config()
				cfg.UntilEnd, cfg.Delivery, cfg.Producer.TransactionTimeout = false, g, 3*time.Second
				cfg.Producer.DeliveryTimeout, cfg.Producer.RequestTimeout = 3*time.Second, time.Second
				r := launch(t, copying("copy"), cfg)
				c.Produce(numbered("in", 0, 20)...)
				c.Await("the copies", func() bool { return c.positions("copy", "in") == 20 })
				c.DeleteTopic(deleted)
				if deleted == "out" {
					c.Produce(numbered("in", 20, 40)...)
				}
				wantError(t, r.wait(), pipeline.ErrMissingTopic, deleted)
			})
		}
	}
}
