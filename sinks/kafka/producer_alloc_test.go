//go:build !race

package kafka_test

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Nothing is sent meanwhile, so that only the sends are counted. (With the race detector
// pools forget, and everything allocates.)
func TestSendDoesNotAllocate(t *testing.T) {
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{BatchSize: 16 << 20, BufferMemory: 64 << 20, Linger: time.Minute}})
	r := record("0123456789", string(make([]byte, 200)))
	r.Headers = pipeline.Headers{kafka.TraceIDHeader("abc"), kafka.SourceHeader("mill")}
	text := kafka.For(p, "out", serde.String(), kafka.KeyOf(func(s string) string { return s[:5] }, serde.String()))
	ctx := t.Context()
	unkeyed := r
	unkeyed.Key = nil
	told := func(kafka.Result, error) {}
	for name, tt := range map[string]struct {
		most float64
		send func() error
	}{
		"plain":        {0.01, func() error { return p.Send(ctx, r, nil) }},
		"without key":  {0.01, func() error { return p.Send(ctx, unkeyed, nil) }},
		"to partition": {0.01, func() error { r := r; r.Partitioner = kafka.ToPartition(0); return p.Send(ctx, r, nil) }},
		"typed":        {0.01, func() error { return text.Send(ctx, "hello, mill", nil) }},
		"callback":     {1.01, func() error { return p.Send(ctx, r, told) }}, // what waits for its outcome; pooled
	} {
		if got := testing.AllocsPerRun(5000, func() {
			if err := tt.send(); err != nil {
				t.Fatal(err)
			}
		}); got > tt.most {
			t.Errorf("%s: %.2f allocations a record", name, got)
		}
	}
	noError(t, p.Flush(ctx), "flush")
}

// Interceptors cost a pipeline's sink no allocation for each record either.
func TestSinkDoesNotAllocatePerRecord(t *testing.T) {
	c := out(t, 1)
	const n = 1000
	outputs := make([]pipeline.Output, n)
	for i := range outputs {
		outputs[i] = pipeline.Output{Topic: "out", Key: []byte("0123456789"), Value: make([]byte, 100), Headers: pipeline.Headers{kafka.SourceHeader("mill")}}
	}
	for name, interceptors := range map[string][]kafka.Interceptor{"none": nil, "one": {kafka.InterceptorFuncs{}}} {
		cfg := c.config()
		cfg.Interceptors = interceptors
		cfg.Producer = kafka.ProducerConfig{BatchSize: 16 << 20, BufferMemory: 64 << 20, Linger: time.Minute} // nothing is sent meanwhile
		s := kafka.NewSink(cfg)
		_, err := s.Open(t.Context(), pipeline.Spec{Guarantee: pipeline.AtLeastOnce, Outputs: []string{"out"}})
		noError(t, err, "open")
		if got := testing.AllocsPerRun(20, func() { noError(t, s.Send(t.Context(), outputs), "send") }); got > n/50 {
			t.Errorf("%s: %v allocations for %d records", name, got, n)
		}
		noError(t, s.Flush(t.Context()), "flush")
		noError(t, s.Close(), "close")
	}
}

func BenchmarkProducerSend(b *testing.B) {
	c := out(b, 1)
	for _, bb := range []struct {
		name string
		done kafka.Callback
	}{{"plain", nil}, {"callback", func(kafka.Result, error) {}}} {
		b.Run(bb.name, func(b *testing.B) {
			p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Acks: kafka.AcksNone, Compression: kafka.NoCompression}})
			r := record("0123456789", string(make([]byte, 200)))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Send(b.Context(), r, bb.done); err != nil {
					b.Fatal(err)
				}
			}
			noError(b, p.Flush(b.Context()), "flush")
		})
	}
}
