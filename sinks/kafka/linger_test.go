package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/sinks/kafka"
)

// Linger rises while records come faster than answers, and falls when each record is
// waited for.
func TestLingerAdapts(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		time.Sleep(2 * time.Millisecond) // an answer's way
		return nil, nil, false
	})
	const most = 8 * time.Millisecond
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{LingerMax: most}})
	if l := p.Metrics().Linger; l != 0 {
		t.Fatalf("linger begins with %v", l)
	}
	sent := int64(0)
	deadline := time.Now().Add(patience)
	for p.Metrics().Linger != most {
		if time.Now().After(deadline) {
			t.Fatalf("linger is %v after %v: %+v", p.Metrics().Linger, patience, p.Metrics())
		}
		noError(t, p.Send(t.Context(), record("k", "v"), nil), "send")
		sent++
		time.Sleep(200 * time.Microsecond)
	}
	for p.Metrics().Linger != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("linger is %v after %v: %+v", p.Metrics().Linger, patience, p.Metrics())
		}
		_, err := p.SendSync(t.Context(), record("k", "v"))
		noError(t, err, "send")
		sent++
	}
	noError(t, p.Flush(t.Context()), "flush")
	if n := int64(len(c.ReadAll("out"))); n != sent {
		t.Errorf("%d records were written of %d", n, sent)
	}
}
