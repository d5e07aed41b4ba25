package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// acknowledger tells a pipeline's interceptors what became of its outputs, on the
// goroutine of its callbacks. What waits to be told is bounded by pending.
type acknowledger struct {
	interceptors interceptors
	callbacks    *callbacks
	pending      *pending
}

func newAcknowledger(is interceptors) *acknowledger {
	return &acknowledger{interceptors: is, callbacks: newCallbacks(), pending: newPending(defaultMaxPending)}
}

// outcomes are those of one Send of the sink.
type outcomes struct {
	plain []outcome
	acks  []acknowledgement // instead, if there are interceptors
}

func (s *Sink) outcomes(n int) (all outcomes) {
	if s.acks == nil {
		all.plain = make([]outcome, n)
		return all
	}
	all.acks = make([]acknowledgement, n)
	now := time.Now()
	for i := range all.acks {
		all.acks[i].a, all.acks[i].sent = s.acks, now
	}
	return all
}

// of returns what is told the outcome of output i.
func (all *outcomes) of(i int, s *sender, o *pipeline.Output, partition int32) send.Completion {
	plain := outcome{s, o.Origin, o.Topic}
	if all.acks == nil {
		all.plain[i] = plain
		return &all.plain[i]
	}
	all.acks[i].outcome, all.acks[i].partition, all.acks[i].headers = plain, partition, slices.Clip(o.Headers)
	return &all.acks[i]
}

// expect waits until the outcome of one more output may be waited for.
func (all *outcomes) expect(ctx context.Context, i int, maxBlock time.Duration) error {
	if all.acks == nil {
		return nil
	}
	k := &all.acks[i]
	if err := k.a.pending.take(ctx, maxBlock); err != nil {
		return err
	}
	k.counted = true
	return nil
}

// refuse is the outcome of an output that the producer has not taken.
func (all *outcomes) refuse(i int, err error) {
	if all.acks != nil {
		all.acks[i].post(-1, time.Time{}, err)
	}
}

// acknowledgement is the outcome of an output on its way to the interceptors.
type acknowledgement struct {
	outcome
	link
	a         *acknowledger
	partition int32
	headers   pipeline.Headers
	counted   bool // in pending
	sent      time.Time

	offset    int64
	timestamp time.Time
	latency   time.Duration
	err       error
}

// Complete implements send.Completion.
func (k *acknowledgement) Complete(offset int64, timestamp time.Time, err error) {
	k.outcome.Complete(offset, timestamp, err)
	k.post(offset, timestamp, err)
}

func (k *acknowledgement) post(offset int64, timestamp time.Time, err error) {
	k.offset, k.timestamp, k.err, k.latency = offset, timestamp, err, time.Since(k.sent)
	k.of = k
	k.a.callbacks.post(&k.link)
}

func (k *acknowledgement) tell() {
	if k.counted {
		k.a.pending.give()
	}
	r := Result{Topic: k.topic, Partition: k.partition, Offset: k.offset, Timestamp: k.timestamp, Latency: k.latency}
	var err error
	if k.err != nil {
		err = newDeliveryError(k.topic, k.partition, k.err)
	}
	k.a.interceptors.onAcknowledgement(r, k.headers, err)
}

// settle waits until interceptors have been told of everything that has its outcome.
// It is patient, not for ever: they have no say in what is committed.
func (s *Sink) settle(ctx context.Context) {
	if s.acks == nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, s.producer.TransactionTimeout)
	defer cancel()
	if err := s.acks.callbacks.drain(limited); err != nil && ctx.Err() == nil {
		s.log.Warn("interceptors have not returned from OnAcknowledgement; the pipeline goes on", "error", err)
	}
}

// ended has interceptors told how the transaction has ended, if one was open.
func (s *Sink) ended(err error) {
	if s.acks == nil || !s.inTxn {
		return
	}
	s.inTxn = false
	s.interceptors.transactionEnded(s.acks.callbacks, err)
}

// close ends the goroutine, once all has been told.
func (a *acknowledger) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return a.callbacks.close(ctx)
}
