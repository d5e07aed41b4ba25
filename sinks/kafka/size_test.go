package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// A record above the producer's own bound is not taken, compressible or not, and the error
// says which setting is in the way.
func TestTooLargeForAProducer(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{MaxRequestSize: 2000}})
	r := record("k", "")
	r.Value = make([]byte, 3000)
	err := p.Send(t.Context(), r, func(kafka.Result, error) { t.Error("told") })
	wantError(t, err, pipeline.ErrTooLarge, "out[0]", "MaxRequestSize (2000)")
	if e := err.(*kafka.DeliveryError); e.Class != kafka.RecordFault || e.Attempts != 0 || e.Code() != 0 {
		t.Errorf("%+v", e)
	}
	noError(t, p.Flush(t.Context()), "flush")
	if m := p.Metrics(); m.Pending != 0 || m.RecordsSent != 0 {
		t.Errorf("%+v", m)
	}
}

// What lingers makes room when a send waits for it, in bytes and in records.
func TestAWaitingSendEndsLingering(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]kafka.ProducerSettings{
		"bytes":   {Producer: kafka.ProducerConfig{BatchSize: 1000, MaxRequestSize: 1000, BufferMemory: 2000}},
		"records": {MaxPending: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := out(t, 3)
			s.Producer.Linger = time.Hour
			s.Producer.DeliveryTimeout = 2 * time.Hour
			p := c.producer(s)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i := range 3 {
				r := record("k", "v")
				r.Partitioner = kafka.ToPartition(int32(i))
				noError(t, p.Send(ctx, r, nil), "send")
			}
		})
	}
}
