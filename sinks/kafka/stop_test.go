package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/pipeline"
)

// A group that has gone on to another generation by the time of the last commit is no
// failure of the pipeline that stops: the input is another's, or the next start's.
func TestStopInAnotherGeneration(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			c.Prefill("in", 100)
			var stats pipeline.Stats
			cfg := c.config()
			cfg.Group, cfg.Delivery, cfg.Stats, cfg.UntilEnd, cfg.CommitInterval = "g", g, &stats, false, time.Minute
			r := launch(t, copying("copy"), cfg)
			c.Await("the input", func() bool { return stats.Snapshot().Records == 100 })
			refused := c.fake.Fake().Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.OffsetCommit, kmsg.TxnOffsetCommit}, Group: "g", Err: kerr.IllegalGeneration, Count: -1,
			})
			r.stop()
			if refused.Hits() == 0 {
				t.Error("there was no last commit")
			}
			refused.Remove()
			if got := c.positions("g", "in"); got != 0 {
				t.Errorf("committed to %d", got)
			}
			cfg = c.config()
			cfg.Group, cfg.Delivery = "g", g
			noError(t, run(t, copying("copy"), cfg), "run again")
			if err := c.Compare("in", "out", 100).Exact(); g == pipeline.ExactlyOnce && err != nil {
				t.Error(err)
			}
		})
	}
}
