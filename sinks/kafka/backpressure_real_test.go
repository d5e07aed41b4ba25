//go:build real

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/sinks/kafka"
)

// slowDown has the broker throttle a client to so many bytes a second, until the
// returned function or the test's end.
func slowDown(t *testing.T, brokers []string, clientID string, rate float64) (end func()) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	noError(t, err, "client")
	t.Cleanup(k.Close)
	alter := func(remove bool) {
		entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
		entity.Type, entity.Name = "client-id", &clientID
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = "producer_byte_rate", rate, remove
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		entry.Entity, entry.Ops = append(entry.Entity, entity), append(entry.Ops, op)
		req := kmsg.NewPtrAlterClientQuotasRequest()
		req.Entries = append(req.Entries, entry)
		resp, err := req.RequestWith(context.Background(), k)
		noError(t, err, "alter the quota")
		noError(t, kerr.ErrorForCode(resp.Entries[0].ErrorCode), "alter the quota")
	}
	alter(false)
	t.Cleanup(func() { alter(true) })
	return func() { alter(true) }
}

// fillUp sends until the producer refuses, and returns how many it took.
func fillUp(t *testing.T, p *kafka.Producer, topic string) (taken int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := p.Send(t.Context(), kafka.Record{Topic: topic, Key: fmt.Append(nil, taken), Value: incompressible(600)}, nil)
		if err != nil {
			wantError(t, err, kafka.ErrBufferFull)
			if kafka.ClassOf(err) != kafka.Retriable {
				t.Errorf("class %v", kafka.ClassOf(err))
			}
			return taken
		}
		if taken++; time.Now().After(deadline) {
			t.Fatalf("%d records were taken and none refused", taken)
		}
	}
}

// A broker that throttles: the buffer fills up, the hook is called, sends fail at once or
// end with their context, and all that was taken is written in order.
func TestRealBackpressure(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	end := slowDown(t, brokers, topic, 4000) // from the 40,001st byte on: it is an average of ten seconds
	settings := kafka.ProducerSettings{
		Brokers: brokers, ClientID: topic,
		Producer: kafka.ProducerConfig{
			BatchSize: 4000, MaxRequestSize: 4000, BufferMemory: 40_000, MaxBlock: kafka.NoWait,
			RequestTimeout: 20 * time.Second, Compression: kafka.NoCompression,
		},
	}
	low := make(chan [2]int64, 100)
	settings.OnBufferLow = func(available, total int64) { low <- [2]int64{available, total} }
	p := c.producer(settings)
	before := p.Metrics()
	c.Await("the broker to throttle", func() bool {
		_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Key: []byte("first"), Value: incompressible(3000)})
		noError(t, err, "send")
		return p.Metrics().ThrottleTime > 0
	})
	taken := fillUp(t, p, topic)
	if m := p.Metrics(); m.BufferAvailable >= 8000 || m.BufferTotal != 40_000 {
		t.Errorf("full, and %d of %d bytes are available", m.BufferAvailable, m.BufferTotal)
	}
	c.Await("the hook", func() bool { return len(low) > 0 })
	if got := <-low; got[1] != 40_000 {
		t.Errorf("the hook is told %v", got)
	}

	// The same broker, a caller that waits.
	settings.Producer.MaxBlock, settings.OnBufferLow, settings.MaxPending = time.Minute, nil, 5
	waiting := c.producer(settings)
	cause := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, cause)
	defer cancel()
	other := 0
	var err error
	for began := time.Now(); err == nil; {
		if time.Since(began) > patience {
			t.Fatal("a send does not end with its context")
		}
		if err = waiting.Send(ctx, kafka.Record{Topic: topic, Key: []byte("other"), Value: incompressible(3000)}, nil); err == nil {
			other++
		}
	}
	wantError(t, err, cause)

	end()
	noError(t, p.Flush(t.Context()), "flush")
	noError(t, waiting.Flush(t.Context()), "flush")
	m := p.Metrics()
	if r := m.Since(before); m.ThrottleTime <= 0 || r.ThrottleTimeAvg <= 0 || m.BufferAvailable != m.BufferTotal {
		t.Errorf("throttled for %v, %v on average; %d of %d bytes are available", m.ThrottleTime, r.ThrottleTimeAvg, m.BufferAvailable, m.BufferTotal)
	}
	next, others := 0, 0
	for _, key := range keys(c.ReadAll(topic)) {
		switch key {
		case "first":
		case "other":
			others++
		case fmt.Sprint(next):
			next++
		default:
			t.Fatalf("%s comes where %d should", key, next)
		}
	}
	if next != taken || others != other {
		t.Errorf("%d of %d and %d of %d were written", next, taken, others, other)
	}
}

// A broker that throttles for longer than DeliveryTimeout: what was taken is given up,
// as an error that may pass.
func TestRealDeliveryTimeout(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	slowDown(t, brokers, topic, 500)
	p := c.producer(kafka.ProducerSettings{
		Brokers: brokers, ClientID: topic,
		Producer: kafka.ProducerConfig{BatchSize: 4000, RequestTimeout: 900 * time.Millisecond, DeliveryTimeout: time.Second, Compression: kafka.NoCompression},
	})
	outcomes := &journal[error]{}
	for range 20 {
		noError(t, p.Send(t.Context(), kafka.Record{Topic: topic, Value: incompressible(3000)}, func(_ kafka.Result, err error) { outcomes.add(err) }), "send")
	}
	var flushed error
	within(t, 15*time.Second, func() { flushed = p.Flush(t.Context()) })
	wantError(t, flushed, kafka.ErrDeliveryTimeout)
	failed := int64(0)
	for _, err := range outcomes.list() {
		if err == nil {
			continue
		}
		failed++
		wantError(t, err, kafka.ErrDeliveryTimeout, topic)
		if kafka.ClassOf(err) != kafka.Retriable {
			t.Errorf("class %v of %v", kafka.ClassOf(err), err)
		}
	}
	if m := p.Metrics(); failed == 0 || m.RecordsFailed != failed || m.Expired == 0 || len(outcomes.list()) != 20 {
		t.Errorf("%d of %d failed, %+v", failed, len(outcomes.list()), m)
	}
}
