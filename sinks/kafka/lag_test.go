package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

func TestLag(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	exerciseLag(t, c, "in", "out", c.config())
}

// exerciseLag has a worker that stands still, goes on, and comes to the end of its input,
// which is the end of transactions: offsets that hold no record for anyone. The input has
// one partition.
func exerciseLag(t *testing.T, c *cluster, in, out string, cfg kafka.Config) {
	t.Helper()
	c.ProduceTransaction(true, numbered(in, 0, 10)...)
	c.ProduceTransaction(false, numbered(in, 10, 15)...)
	const end = 10 + 1 + 5 + 1 // each transaction has a marker
	c.Await("the markers", func() bool { return c.Ends(in, false)[0] == end })
	open := make(chan struct{})
	p := pipeline.New("lag-" + in)
	s := stages.Map(pipeline.From(p, in, serde.String()), "gate", func(v string) (string, error) {
		<-open
		return v, nil
	})
	pipeline.To(s, out, serde.String())
	var stats pipeline.Stats
	cfg.Stats, cfg.UntilEnd = &stats, false
	r := launch(t, p, cfg)
	claim := func() (s pipeline.PartitionStats) {
		if claims := stats.Snapshot().Claims; len(claims) == 1 {
			return claims[0]
		}
		return pipeline.PartitionStats{Lag: -2}
	}
	c.Await("the lag of all that is there", func() bool { return claim().Lag == end && !claim().Heard.IsZero() })
	c.Produce(numbered(in, 15, 18)...)
	c.Await("the lag of what has come meanwhile", func() bool { return claim().Lag == end+3 })
	close(open)
	c.Await("no lag", func() bool { return claim().Lag == 0 && claim().Committed == end+3 })
	c.ProduceTransaction(true, numbered(in, 18, 20)...)
	c.Await("the last records", func() bool { return claim().Committed == end+5 })
	c.Await("no lag behind the last marker", func() bool { return claim().Lag == 0 })
	c.ProduceTransaction(false, numbered(in, 20, 25)...)
	c.Await("the last marker", func() bool { return c.Ends(in, false)[0] == end+3+2+1+5+1 })
	told := time.Now()
	c.Await("news of the partition", func() bool { return claim().Heard.After(told) })
	c.Await("no lag behind records that were aborted", func() bool { return claim().Lag == 0 })
	if s := claim(); s.Committed != end+5 {
		t.Errorf("%d is committed, where the last record ends is %d", s.Committed, end+5)
	}
	r.stop()
	if n := len(c.ReadAll(out)); n != 15 {
		t.Errorf("%d records came out, want 15", n)
	}
}
