package kafka_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Callbacks that send, with no room among the pending records and hardly any in the
// buffer, while other senders take what they can: nobody may wait for ever. Take
// inCallback out of pending.take, and this test hangs.
func TestCallbacksMaySendWhenEverythingIsFull(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{
		MaxPending: 4,
		Producer:   kafka.ProducerConfig{BatchSize: 300, MaxRequestSize: 300, BufferMemory: 600, Linger: kafka.NoLinger, MaxBlock: 10 * time.Minute},
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var answers, full atomic.Int64
	answer := record("answer", "a")
	told := func(_ kafka.Result, err error) {
		if err != nil {
			t.Error(err)
		}
		switch err := p.Send(ctx, answer, nil); {
		case err == nil:
			answers.Add(1)
		case errors.Is(err, kafka.ErrBufferFull):
			full.Add(1)
		default:
			t.Error(err)
		}
	}
	const n = 500
	done := make(chan struct{})
	for range 2 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range n / 2 {
				if err := p.Send(ctx, record("question", "q"), told); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	<-done
	<-done
	noError(t, p.Flush(ctx), "flush")
	noError(t, p.Flush(ctx), "flush what callbacks have sent")
	got := keys(c.ReadAll("out"))
	if len(got) != n+int(answers.Load()) || answers.Load()+full.Load() != n {
		t.Errorf("%d records, of %d questions and %d answers; %d answers were refused", len(got), n, answers.Load(), full.Load())
	}
	if answers.Load() < n/2 {
		t.Errorf("only %d of %d callbacks could send", answers.Load(), n)
	}
}

// A callback that sends more than it settles goes beyond MaxPending, to twice as much.
func TestCallbacksAreBounded(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{MaxPending: 10, Producer: kafka.ProducerConfig{Linger: time.Minute}})
	taken := make(chan int, 1)
	noError(t, p.Send(t.Context(), record("a", "1"), func(kafka.Result, error) {
		n := 0
		for p.Send(t.Context(), record("b", "2"), nil) == nil {
			n++
		}
		taken <- n
	}), "send")
	noError(t, p.Flush(t.Context()), "flush")
	if n := <-taken; n != 20 {
		t.Errorf("%d were taken, want 20", n)
	}
}

// Others wait for callbacks: what is behind a slow one is bounded.
func TestASlowCallbackSlowsSendersDown(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{MaxPending: 5, Producer: kafka.ProducerConfig{Linger: kafka.NoLinger, MaxBlock: kafka.NoWait}})
	release := make(chan struct{})
	wait := func(kafka.Result, error) { <-release }
	sent := 0
	var err error
	c.Await("a send that is refused", func() bool {
		for err == nil {
			if err = p.Send(t.Context(), record("a", "1"), wait); err == nil {
				sent++
			}
		}
		return p.Metrics().RecordsAcked == int64(sent)
	})
	wantError(t, err, kafka.ErrBufferFull)
	if kafka.ClassOf(err) != kafka.Retriable {
		t.Errorf("class %v", kafka.ClassOf(err))
	}
	if sent < 5 || sent > 6 { // the one whose callback runs counts no more
		t.Errorf("%d were taken, want 5 or 6", sent)
	}
	if m := p.Metrics(); m.Pending != 5 && m.Pending != 4 {
		t.Errorf("%d are pending", m.Pending)
	}
	close(release)
	noError(t, p.Flush(t.Context()), "flush")
}

// Calls that would wait for callbacks are refused within one.
func TestCallbacksMustNotWait(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{})
	ctx := t.Context()
	got := make(chan map[string]error, 1)
	noError(t, p.Send(ctx, record("a", "1"), func(kafka.Result, error) {
		_, sync := p.SendSync(ctx, record("b", "2"))
		_, many := p.SendMany(ctx, []kafka.Record{record("b", "2")})
		f, err := p.SendFuture(ctx, record("c", "3"))
		if err != nil {
			t.Error(err)
		}
		_, future := deep(60, func() (kafka.Result, error) { return f.Wait(ctx) })
		got <- map[string]error{"SendSync": sync, "SendMany": many, "Wait": future, "Flush": p.Flush(ctx), "Close": p.Close(ctx)}
	}), "send")
	for call, err := range <-got {
		if !errors.Is(err, kafka.ErrInCallback) {
			t.Errorf("%s: %v", call, err)
		}
	}
	noError(t, p.Flush(ctx), "flush")
	same(t, "values", values(c.ReadAll("out")), []string{"1", "3"})
}

// deep calls f from far up the stack.
func deep(n int, f func() (kafka.Result, error)) (kafka.Result, error) {
	if n == 0 {
		return f()
	}
	r, err := deep(n-1, f)
	return r, err
}

func TestDeadLetterHook(t *testing.T) {
	t.Parallel()
	c := start(t, limitedTopics())
	var p *kafka.Producer
	reasons := &journal[*kafka.DeliveryError]{}
	p = c.producer(kafka.ProducerSettings{
		Producer: kafka.ProducerConfig{Compression: kafka.NoCompression},
		DeadLetter: func(r kafka.Record, reason *kafka.DeliveryError) {
			reasons.add(reason)
			r.Topic, r.Headers = "dlq", r.Headers.Add("reason", []byte(reason.Class.String()))
			if err := p.Send(context.Background(), r, nil); err != nil {
				t.Error(err)
			}
		},
	})
	big := kafka.Record{Topic: "out", Key: []byte("big"), Value: incompressible(2 * brokerLimit), Headers: pipeline.Headers{{Key: "h", Value: []byte("x")}}}
	noError(t, p.Send(t.Context(), record("a", "1"), nil), "send")
	noError(t, p.Send(t.Context(), big, nil), "send")
	clear(big.Key) // the hook has a copy
	clear(big.Value)
	wantError(t, p.Flush(t.Context()), pipeline.ErrTooLarge)
	noError(t, p.Flush(t.Context()), "flush the dead letter")
	same(t, "out", keys(c.ReadAll("out")), []string{"a"})
	dead := c.ReadAll("dlq")
	same(t, "dead letters", keys(dead), []string{"big"})
	if h := dead[0].Headers; len(h) != 2 || string(h[1].Value) != "the record's" || string(dead[0].Value) != string(incompressible(2*brokerLimit)) {
		t.Errorf("headers %v", h)
	}
	if r := reasons.list(); len(r) != 1 || r[0].Class != kafka.RecordFault || r[0].Attempts == 0 {
		t.Errorf("reasons %+v", r)
	}
}

// The hook comes once when the buffer runs low, and its values are right.
func TestBufferLowHook(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	told := make(chan [2]int64, 10)
	p := c.producer(kafka.ProducerSettings{
		OnBufferLow: func(available, total int64) { told <- [2]int64{available, total} },
		Producer:    kafka.ProducerConfig{BatchSize: 1000, MaxRequestSize: 1000, BufferMemory: 10_000, Linger: time.Minute, MaxInFlight: 1, MaxBlock: kafka.NoWait},
	})
	release := make(chan struct{})
	c.hold(release)
	for {
		if err := p.Send(t.Context(), kafka.Record{Topic: "out", Value: incompressible(600)}, nil); err != nil {
			wantError(t, err, kafka.ErrBufferFull)
			break
		}
	}
	if got := <-told; got[0] >= 2000 || got[1] != 10_000 {
		t.Errorf("told of %v", got)
	}
	if len(told) > 0 {
		t.Error("told twice")
	}
	close(release)
	noError(t, p.Flush(t.Context()), "flush")
}
