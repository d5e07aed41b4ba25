package kafka_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

// brokerLimit is max.message.bytes of the topic that refuses large records.
const brokerLimit = 4000

// incompressible is a value that stays as large as it is.
func incompressible(size int) []byte {
	b := make([]byte, size)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func large(key string, size int) *kgo.Record {
	return &kgo.Record{Topic: "in", Key: []byte(key), Value: incompressible(size)}
}

// limited has a topic that takes less than the producer.
func limited(t *testing.T, dlqLimit int) *cluster {
	t.Helper()
	cfg := limitedTopics()
	cfg.Topics[2].Config = map[string]string{"max.message.bytes": fmt.Sprint(dlqLimit)}
	return start(t, cfg)
}

func limitedTopics() embedded.Config {
	return embedded.Config{Topics: []embedded.Topic{
		topic("in", 1), {Name: "out", Partitions: 1, Config: map[string]string{"max.message.bytes": fmt.Sprint(brokerLimit)}}, topic("dlq", 1),
	}}
}

func deadLettering(name string, opts ...pipeline.Option) *pipeline.Pipeline {
	p := pipeline.New(name, append([]pipeline.Option{pipeline.DeadLetter("dlq")}, opts...)...)
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	return p
}

func keys(records []*kgo.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, string(r.Key))
	}
	return out
}

func unique(all []string) []string {
	seen, out := map[string]bool{}, []string{}
	for _, s := range all {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func TestTooLargeForTheProducer(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := limited(t, 1<<20)
			cfg := c.config()
			cfg.Delivery, cfg.Producer.MaxRequestSize = g, 2000
			c.Produce(text("in", "a", "fits"))
			noError(t, run(t, deadLettering("copy"), cfg), "run")

			// The dead letter is as large as the record.
			c.Produce(large("big", 3000))
			wantError(t, run(t, deadLettering("copy"), cfg), pipeline.ErrDeadLetterTooLarge, "in[0]@1", "MaxRequestSize (2000)")
			wantError(t, run(t, copyTo("copy", "in", "out"), cfg), pipeline.ErrTooLarge, "in[0]@1", "MaxRequestSize (2000)")
			noError(t, run(t, deadLettering("copy", pipeline.OnError(pipeline.Skip)), cfg), "run that skips")
			same(t, "out", keys(c.ReadAll("out")), []string{"a"})
			if got := c.positions("copy", "in"); got != 2 {
				t.Errorf("the group has committed %d, want 2", got)
			}
		})
	}
}

func copyTo(name, in, out string) *pipeline.Pipeline {
	p := pipeline.New(name)
	pipeline.To(pipeline.From(p, in, serde.Bytes()), out, serde.Bytes())
	return p
}
