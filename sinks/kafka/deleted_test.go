package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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

// The group finds out first: its client then asks for the topic again and again, for
// most of a minute, and has to stop when the pipeline does.
func TestTopicIsDeletedDuringARebalance(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 2), topic("out", 2)}})
	cfg := c.config()
	cfg.UntilEnd, cfg.HeartbeatInterval = false, 100*time.Millisecond
	r := launch(t, copying("copy"), cfg)
	c.Produce(numbered("in", 0, 20)...)
	c.Await("the copies", func() bool { return c.positions("copy", "in") == 20 })
	c.DeleteTopic("in")
	c.fake.Fake().ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.RebalanceInProgress.Code
		return resp, nil, true
	})
	wantError(t, r.wait(), pipeline.ErrMissingTopic, "in")
}
