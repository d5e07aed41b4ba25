package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// Producer writes records to Kafka on its own, without a pipeline. Its methods may be
// called from any goroutine; which of them a [Callback] may call stands there.
//
// A record goes through interceptors, serialization (for a [Typed]), the partitioner,
// the partition's batch in a buffer bounded in bytes, compression of the batch, and a
// request to the partition's leader; its outcome comes to the interceptors again, to
// the dead-letter hook if it was not written, and to its callback or future.
//
// It is idempotent unless configured otherwise: retries neither double records nor
// change their order within a partition. That holds for the producer's own retries
// only: a record that is sent again is another record.
type Producer struct {
	settings     ProducerSettings
	inner        atomic.Pointer[send.Producer]
	interceptors interceptors
	callbacks    *callbacks
	pending      *pending
	undelivered  undelivered
	everyDone    bool // each record has a delivery of its own
	keepHeaders  bool // until its outcome, for interceptors
	closed       atomic.Bool

	topics atomic.Pointer[map[string]*producerTopic]
	mu     sync.Mutex // changes of topics and of inner
	past   Metrics    // what machines before inner have counted

	txn txnState
}

// NewProducer connects, with few retries, and initialises the producer: an
// idempotent one gets its id, a transactional one ends what an earlier owner of its
// TransactionalID has left open. The caller must Close it. ctx bounds the call only.
func NewProducer(ctx context.Context, settings ProducerSettings) (*Producer, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	s := settings.withDefaults()
	client, err := cluster.Open(ctx, s.cluster())
	if err != nil {
		return nil, err
	}
	err = firstOf(s.checkTopics(ctx, client), client.Close())
	if err != nil {
		return nil, err
	}
	p := &Producer{settings: s, pending: newPending(int64(s.MaxPending)), callbacks: newCallbacks()}
	p.pending.onWait = func() { p.inner.Load().Hurry() } // what lingers makes room
	p.topics.Store(&map[string]*producerTopic{})
	p.txn.init()
	p.interceptors = newInterceptors(s.Interceptors, s.Logger)
	p.keepHeaders = p.interceptors.wantHeaders()
	p.everyDone = len(p.interceptors) > 0 || s.DeadLetter != nil
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.callbacks.close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// open makes the machine, the first or the next.
func (p *Producer) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.maxBlock())
	defer cancel()
	c := p.settings.sending()
	if p.settings.OnBufferLow != nil {
		c.OnBufferLow = func() {
			d := &delivery{p: p, low: true}
			d.of = d
			p.callbacks.post(&d.link)
		}
	}
	inner, err := send.New(ctx, c)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		return fmt.Errorf("start the producer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return errors.Join(ErrClosed, closeSoon(ctx, func(ctx context.Context) error { return inner.Close(ctx, 0) }))
	}
	if p.inner.Load() != nil {
		p.past = p.metrics()
	}
	p.inner.Store(inner)
	return nil
}

// ErrTransaction says that a call does not fit the transaction's state: a send of a
// transactional producer outside of [Producer.InTransaction], or after its end.
var ErrTransaction = errors.New("not within a transaction")

// Send takes a record and returns: its outcome goes to done, which may be nil. It
// waits for room, at most MaxBlock, and ends early with ctx, which concerns this call
// only. After an error, a [*DeliveryError], the record was not taken, done is not
// called and Flush does not report it.
//
// Without a callback, interceptors and DeadLetter a record costs no allocation, with a
// callback that is no new closure none either.
func (p *Producer) Send(ctx context.Context, r Record, done Callback) error {
	if p.settings.TransactionalID != "" {
		return p.refused(&r, noPartition, ErrTransaction, time.Time{})
	}
	return p.send(ctx, r, done)
}

func (p *Producer) send(ctx context.Context, r Record, done Callback) error {
	if len(p.interceptors) > 0 {
		r = p.intercept(ctx, r, nil)
	}
	return p.enqueue(ctx, &r, done)
}

// enqueue takes a record that interceptors have seen.
func (p *Producer) enqueue(ctx context.Context, r *Record, done Callback) error {
	began := time.Now()
	partition, err := p.take(ctx, r, done, began)
	if err != nil {
		return p.refused(r, partition, err, began)
	}
	return nil
}

// refused makes the error of a record that was not taken.
func (p *Producer) refused(r *Record, partition int32, err error, began time.Time) error {
	e := newDeliveryError(r.Topic, partition, err)
	if len(p.interceptors) > 0 && !began.IsZero() {
		p.interceptors.onAcknowledgement(Result{Topic: r.Topic, Partition: partition, Offset: -1, Latency: time.Since(began)}, r.Headers, e)
	}
	return e
}

// noPartition is the one of a record for which none was chosen.
const noPartition int32 = -1

func (p *Producer) take(ctx context.Context, r *Record, done Callback, began time.Time) (int32, error) {
	if p.closed.Load() {
		return noPartition, ErrClosed
	}
	if err := p.settings.checkHeaders(r.Headers); err != nil {
		return noPartition, err
	}
	inner := p.inner.Load()
	n := inner.Known(r.Topic)
	if n == 0 {
		var err error
		if n, err = p.lookUp(ctx, inner, r.Topic); err != nil {
			return noPartition, err
		}
	}
	t := p.topic(r.Topic, n)
	by := r.Partitioner
	if by == nil {
		by = p.settings.Partitioner
	}
	partition, err := choose(by, r.Topic, r.Key, r.Value, n)
	if err != nil {
		return noPartition, err
	}
	sr := send.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	if len(r.Headers) > 0 {
		buf := sendHeaders.Get().(*[]send.Header)
		defer freeHeaders(buf)
		for _, h := range r.Headers {
			*buf = append(*buf, send.Header(h))
		}
		sr.Headers = *buf
	}
	if sr.Timestamp.IsZero() {
		sr.Timestamp = began
	}
	if partition == pipeline.AnyPartition {
		partition = t.sticky.next(r.Key, r.Value, r.Headers, n)
	}
	sr.Partition = partition
	if err := p.pending.take(ctx, p.settings.Producer.MaxBlock); err != nil {
		return partition, err
	}
	var d *delivery
	if done == nil && !p.everyDone {
		sr.Done = t.plain[partition]
	} else {
		d = deliveries.Get().(*delivery)
		d.p, d.topic, d.partition, d.sent, d.done = p, r.Topic, partition, began, done
		if p.settings.DeadLetter != nil {
			d.letter = r.clone()
			d.headers = d.letter.Headers
		} else if p.keepHeaders {
			d.headers = cloneHeaders(r.Headers)
		}
		sr.Done = d
	}
	if err := inner.Send(ctx, &sr); err != nil {
		p.pending.give()
		if d != nil {
			*d = delivery{}
			deliveries.Put(d)
		}
		if errors.Is(err, send.ErrTooLarge) {
			err = fmt.Errorf("%w: %d bytes, more than MaxRequestSize (%d)", err, sr.Size(), p.settings.Producer.MaxRequestSize)
		}
		return partition, err
	}
	return partition, nil
}

// maxBlock bounds what cannot be done without waiting.
func (p *Producer) maxBlock() time.Duration {
	if wait := p.settings.Producer.MaxBlock; wait != NoWait {
		return wait
	}
	return defaultMaxBlock
}

var errNoMetadata = errors.New("no broker has told its partitions in time")

// lookUp asks for a topic's partitions.
func (p *Producer) lookUp(ctx context.Context, inner *send.Producer, topic string) (int32, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.maxBlock(), errNoMetadata)
	defer cancel()
	n, err := inner.Partitions(ctx, topic)
	if errors.Is(err, send.ErrUnknownTopic) {
		err = fmt.Errorf("%w: %w", pipeline.ErrMissingTopic, err)
	}
	return n, err
}

// topic returns what is known of a topic with n partitions.
func (p *Producer) topic(name string, n int32) *producerTopic {
	if t := (*p.topics.Load())[name]; t != nil && len(t.plain) >= int(n) {
		return t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := (*p.topics.Load())[name]
	if old != nil && len(old.plain) >= int(n) {
		return old
	}
	t := &producerTopic{sticky: newSticky(p.settings.Producer.BatchSize)}
	for i := range n {
		t.plain = append(t.plain, &plain{p, name, i})
	}
	all := maps.Clone(*p.topics.Load())
	all[name] = t
	p.topics.Store(&all)
	return t
}

// Flush has everything sent before it written at once and waits until all of it has
// its outcome and its callbacks have returned. It reports the records that were taken
// and not written since the last Flush, as an [*UndeliveredError]; each is reported
// once, here and to its callback.
func (p *Producer) Flush(ctx context.Context) error {
	if inCallback() {
		return ErrInCallback
	}
	if err := p.settle(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return p.undelivered.take()
}

// settle waits for everything that was sent, callbacks included.
func (p *Producer) settle(ctx context.Context) error {
	if err := p.inner.Load().Flush(ctx); err != nil {
		return err
	}
	return p.callbacks.drain(ctx)
}

// Close takes no more records, waits until everything sent is written, at most until
// ctx ends, and gives up the rest with [ErrClosed]. Callbacks are called for all. It
// reports what was not written since the last Flush. An open transaction ends with
// its time-out, or by the next owner of its id. Closing twice does nothing.
func (p *Producer) Close(ctx context.Context) error {
	if inCallback() {
		return ErrInCallback
	}
	if p.closed.Swap(true) {
		return nil
	}
	p.mu.Lock() // open either has seen closed, or its machine is this one
	inner := p.inner.Load()
	p.mu.Unlock()
	flushed := inner.Flush(ctx)
	if errors.Is(flushed, ErrClosed) {
		flushed = nil
	}
	err := closeSoon(ctx, func(ctx context.Context) error { return inner.Close(ctx, 0) })
	if p.callbacks.close(ctx) != nil {
		err = firstOf(err, closeSoon(ctx, p.callbacks.close))
	}
	return errors.Join(firstOf(flushed, err), p.undelivered.take(), p.interceptors.close())
}

// closeSoon gives an end some time, also when ctx has ended: what is given up comes
// back soon.
func closeSoon(ctx context.Context, end func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return end(ctx)
}
