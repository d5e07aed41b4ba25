package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// asyncProducer is the producer under the sink, on sarama's AsyncProducer. It is
// correct and simple; what AsyncProducer cannot do (bound its buffer in bytes,
// take a context, guard a late EndTxn) it cannot do either.
type asyncProducer struct {
	p             sarama.AsyncProducer
	transactional bool
	careful       bool // one record a batch: a refusal is that record's
	drained       sync.WaitGroup
	hopeless      atomic.Bool // what is still retried will be thrown away

	// stuck says that CommitTxn was left behind. Only whoever ends transactions
	// uses it.
	stuck bool

	mu       sync.Mutex
	cond     *sync.Cond
	sent     int64
	settled  int64         // acknowledged or failed
	err      error         // the first since the last flush, commit or abort
	broken   chan struct{} // closed with the first error
	refused  bool          // a batch was too large
	rejected []pipeline.Rejection
}

// message is one output on its way. A slice of them is one allocation; sarama
// gets pointers into it.
type message struct {
	sarama.ProducerMessage
	key, value sarama.ByteEncoder
	origin     pipeline.Origin
}

func (m *message) set(o *pipeline.Output, partition int32) {
	m.Topic, m.Partition, m.Timestamp, m.origin = o.Topic, partition, o.Timestamp, o.Origin
	m.Metadata = m
	if o.Key != nil {
		m.key = o.Key
		m.Key = &m.key
	}
	if o.Value != nil {
		m.value = o.Value
		m.Value = &m.value
	}
	if len(o.Headers) > 0 {
		m.Headers = make([]sarama.RecordHeader, len(o.Headers))
		for i, h := range o.Headers {
			m.Headers[i] = sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value}
		}
	}
}

func newAsyncProducer(cfg Config, pc ProducerConfig, txnID string, careful bool) (*asyncProducer, error) {
	c := cfg.cluster().Sarama()
	c.Net.MaxOpenRequests = 1 // what sarama wants for idempotence
	p := &c.Producer
	p.Idempotent = true
	p.RequiredAcks = sarama.WaitForAll
	p.Partitioner = sarama.NewManualPartitioner
	p.Compression = pc.Compression.codec()
	p.MaxMessageBytes = pc.MaxRequestSize
	p.Flush.Frequency = pc.Linger
	if careful {
		p.Flush.MaxMessages = 1
	}
	p.Return.Errors = true
	p.Return.Successes = txnID == ""
	a := &asyncProducer{transactional: txnID != "", careful: careful, broken: make(chan struct{})}
	a.cond = sync.NewCond(&a.mu)
	patient := backoff(100*time.Millisecond, time.Second)
	p.Retry.BackoffFunc = func(retries, limit int) time.Duration {
		if a.hopeless.Load() {
			return hopelessBackoff
		}
		return patient(retries, limit)
	}
	p.Retry.Max = int(pc.DeliveryTimeout/time.Second) + 4
	if txnID != "" {
		p.Transaction.ID = txnID
		p.Transaction.Timeout = pc.TransactionTimeout
		p.Transaction.Retry.Max = 60
		p.Transaction.Retry.BackoffFunc = backoff(10*time.Millisecond, 500*time.Millisecond)
	}
	sp, err := sarama.NewAsyncProducer(cfg.Brokers, c)
	if err != nil {
		return nil, err
	}
	a.p = sp
	a.drained.Go(func() {
		for e := range sp.Errors() {
			a.failed(e)
		}
	})
	a.drained.Go(func() {
		for range sp.Successes() {
			a.settle()
		}
	})
	return a, nil
}

// hopelessBackoff lets a producer that was given up run through its retries, which
// sarama cannot be told to end.
const hopelessBackoff = 10 * time.Millisecond

func backoff(initial, limit time.Duration) func(retries, _ int) time.Duration {
	b := pipeline.Backoff{Initial: initial, Max: limit}
	return func(retries, _ int) time.Duration { return b.Wait(retries) }
}

func (c Compression) codec() sarama.CompressionCodec {
	return [...]sarama.CompressionCodec{
		LZ4: sarama.CompressionLZ4, NoCompression: sarama.CompressionNone, Snappy: sarama.CompressionSnappy,
		Gzip: sarama.CompressionGZIP, Zstd: sarama.CompressionZSTD,
	}[c]
}

func (a *asyncProducer) send(ctx context.Context, msgs []message) error {
	a.mu.Lock()
	a.sent += int64(len(msgs))
	a.mu.Unlock()
	in := a.p.Input()
	for i := range msgs {
		m := &msgs[i].ProducerMessage
		select {
		case in <- m:
			continue
		default:
		}
		select {
		case in <- m:
		case <-ctx.Done():
			return &pipeline.SinkError{Op: "send", Err: context.Cause(ctx)}
		}
	}
	return nil
}

func (a *asyncProducer) settle() {
	a.mu.Lock()
	a.settled++
	if a.settled == a.sent {
		a.cond.Broadcast()
	}
	a.mu.Unlock()
}

// failed takes note of a record that was not written.
func (a *asyncProducer) failed(e *sarama.ProducerError) {
	m, ok := e.Msg.Metadata.(*message)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled++
	a.cond.Broadcast()
	if a.err == nil {
		a.err = e.Err
		close(a.broken)
	}
	if isTooLarge(e.Err) {
		a.refused = true
	}
	// All records of a refused batch are reported, one after another and some
	// maybe later: only a record that was sent alone is guilty.
	if ok && a.careful && isTooLarge(e.Err) {
		a.rejected = append(a.rejected, pipeline.Rejection{
			Origin: m.origin, Topic: m.Topic, Err: fmt.Errorf("%w: refused by the broker: %w", pipeline.ErrTooLarge, e.Err),
		})
	}
}

func isTooLarge(err error) bool {
	if errors.Is(err, sarama.ErrMessageSizeTooLarge) {
		return true
	}
	var conf sarama.ConfigurationError
	return errors.As(err, &conf) && strings.Contains(string(conf), "MaxMessageBytes")
}

// take returns what has failed, and forgets it.
func (a *asyncProducer) take(op string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		err = a.err
	}
	return a.classify(op, err, a.rejected)
}

// refusedBatch reports whether a batch was too large, so that its records should
// be sent alone.
func (a *asyncProducer) refusedBatch() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused && !a.careful
}

func (a *asyncProducer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		a.broken = make(chan struct{})
	}
	a.err, a.refused, a.rejected = nil, false, nil
}

func (a *asyncProducer) flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		a.cond.Broadcast()
		a.mu.Unlock()
	})
	defer stop()
	a.mu.Lock()
	for a.settled < a.sent && ctx.Err() == nil {
		a.cond.Wait()
	}
	err := a.err
	a.mu.Unlock()
	if err == nil && ctx.Err() != nil {
		return &pipeline.SinkError{Op: "flush", Err: context.Cause(ctx)}
	}
	if err != nil {
		err = a.take("flush", err)
	}
	return err
}

func (a *asyncProducer) begin() error {
	a.forget()
	if err := a.p.BeginTxn(); err != nil {
		return a.take("begin", err)
	}
	return nil
}

func (a *asyncProducer) sendOffsets(offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	byTopic := map[string][]*sarama.PartitionOffsetMetadata{}
	for _, o := range offsets {
		byTopic[o.Topic] = append(byTopic[o.Topic], &sarama.PartitionOffsetMetadata{Partition: o.Partition.Partition, Offset: o.Next, LeaderEpoch: -1})
	}
	meta := &sarama.ConsumerGroupMetadata{GroupID: group.Group, MemberID: group.Member, GenerationID: group.Generation}
	if group.Instance != "" {
		meta.GroupInstanceID = &group.Instance
	}
	if err := a.p.AddOffsetsToTxnWithGroupMetadata(byTopic, meta); err != nil {
		return a.take("offsets", err)
	}
	return nil
}

// commitGrace is how long a commit may take to return after a record of it has
// failed.
const commitGrace = 100 * time.Millisecond

// commit flushes and commits. When a record fails meanwhile, sarama goes on to
// retry the others, each until its budget is spent, although it refuses to commit
// after that: such a commit is left behind.
func (a *asyncProducer) commit() error {
	done := make(chan error, 1)
	go func() { done <- a.p.CommitTxn() }()
	a.mu.Lock()
	broken := a.broken
	a.mu.Unlock()
	var err error
	select {
	case err = <-done:
	case <-broken:
		select {
		case err = <-done:
		case <-time.After(commitGrace):
			a.stuck = true
			return a.take("commit", nil)
		}
	}
	if err != nil {
		return a.take("commit", err)
	}
	return nil
}

// errCommitStuck says that only a new producer can end the transaction.
var errCommitStuck = errors.New("the commit of a failed transaction does not return")

func (a *asyncProducer) abort() error {
	if a.stuck {
		return errCommitStuck
	}
	err := a.p.AbortTxn()
	if err == nil && a.p.TxnStatus()&sarama.ProducerTxnFlagReady == 0 {
		err = fmt.Errorf("the producer is %v after the abort", a.p.TxnStatus())
	}
	if err != nil {
		return a.take("abort", err)
	}
	return nil
}

// discard gives a producer up without ending its transaction.
func (a *asyncProducer) discard() {
	a.hopeless.Store(true)
	a.p.AsyncClose()
}

// closeTimeout bounds close: sarama's waits for every batch under way.
const closeTimeout = 2 * time.Second

func (a *asyncProducer) close() error {
	a.discard()
	done := make(chan struct{})
	go func() {
		a.drained.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeTimeout):
		return errors.New("the producer still has batches under way")
	}
}

// classify says what an error means for the transaction, by the state that sarama
// is in: only an abortable one is definite.
func (a *asyncProducer) classify(op string, err error, rejected []pipeline.Rejection) error {
	if err == nil {
		return nil
	}
	se := &pipeline.SinkError{Op: op, Err: err, Rejected: rejected}
	switch {
	case cluster.IsAuth(err) || isAnyOf(err, sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedForMessageFormat, sarama.ErrInvalidTransactionTimeout):
		return pipeline.Fatal(se)
	case isAnyOf(err, sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch):
		se.Verdict = pipeline.Fenced
	case a != nil && a.transactional && a.p.TxnStatus()&sarama.ProducerTxnFlagAbortableError != 0:
		se.Verdict = pipeline.Abortable
	}
	return se
}

func verdict(op string, err error) error { return (*asyncProducer)(nil).classify(op, err, nil) }

func isAnyOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}
