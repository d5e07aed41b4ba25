package kafka_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/sinks/kafka"
)

// A retry while a later batch is under way: without idempotence it changes the order, with
// it, or with one request at a time, which is the default without, it does not.
func TestARetryAndTheOrder(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg      kafka.ProducerConfig
		inFlight int
		want     []string
	}{
		"not idempotent, two in flight": {kafka.ProducerConfig{Idempotence: kafka.IdempotenceOff, MaxInFlight: 2}, 2, []string{"0", "2", "1"}},
		"not idempotent":                {kafka.ProducerConfig{Idempotence: kafka.IdempotenceOff}, 1, []string{"0", "1", "2"}},
		"idempotent":                    {kafka.ProducerConfig{}, 2, []string{"0", "1", "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := out(t, 1)
			tt.cfg.Linger, tt.cfg.BatchSize = kafka.NoLinger, 100 // a batch for each record
			p := c.producer(kafka.ProducerSettings{Producer: tt.cfg})
			send := func(i int) {
				noError(t, p.Send(t.Context(), kafka.Record{Topic: "out", Key: fmt.Append(nil, i), Value: make([]byte, 80)}, nil), "send")
			}
			send(0) // an idempotent producer's first batch travels alone
			noError(t, p.Flush(t.Context()), "flush")

			var arrived atomic.Int64
			release := make(chan struct{})
			c.refuse(kerr.NotLeaderForPartition, func() bool {
				if arrived.Add(1) > 1 {
					return false
				}
				c.fake.Fake().SleepControl(func() { <-release }) // until the next one is under way
				return true
			})
			send(1)
			send(2)
			c.Await("requests under way", func() bool { return p.Metrics().InFlightRequests == int64(tt.inFlight) })
			close(release)
			noError(t, p.Flush(t.Context()), "flush")
			same(t, "order", keys(c.ReadAll("out")), tt.want)
			if n := p.Metrics().Retries; n == 0 {
				t.Error("nothing was sent again")
			}
		})
	}
}
