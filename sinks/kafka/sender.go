package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// sender is the send pipeline under the sink.
type sender struct {
	p       *send.Producer
	timeout time.Duration // of a transaction's calls

	mu       sync.Mutex
	err      error // the first since the last flush, commit or abort
	rejected []pipeline.Rejection
}

func newSender(ctx context.Context, cfg Config, pc ProducerConfig, txnID string) (*sender, error) {
	sc := pc.sending()
	sc.Brokers, sc.Connection, sc.SASL, sc.Logger = cfg.Brokers, cfg.cluster().Sarama(), cfg.SASL, cfg.logger()
	sc.TransactionalID = txnID
	p, err := send.New(ctx, sc)
	if err != nil {
		return nil, err
	}
	return &sender{p: p, timeout: pc.TransactionTimeout}, nil
}

func (c Compression) codec() sarama.CompressionCodec {
	return [...]sarama.CompressionCodec{
		LZ4: sarama.CompressionLZ4, NoCompression: sarama.CompressionNone, Snappy: sarama.CompressionSnappy,
		Gzip: sarama.CompressionGZIP, Zstd: sarama.CompressionZSTD,
	}[c]
}

// outcome is told what becomes of one output.
type outcome struct {
	s      *sender
	origin pipeline.Origin
	topic  string
}

// Complete takes note of an output that was not written.
func (o *outcome) Complete(_ int64, _ time.Time, err error) {
	if err == nil {
		return
	}
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.s.err == nil || errors.Is(o.s.err, send.ErrAborted) {
		o.s.err = err
	}
	// The others of the transaction fail because of this one, and say so.
	if errors.Is(err, send.ErrTooLarge) && !errors.Is(err, send.ErrAborted) {
		o.s.rejected = append(o.s.rejected, pipeline.Rejection{
			Origin: o.origin, Topic: o.topic, Err: fmt.Errorf("%w: refused by the broker: %w", pipeline.ErrTooLarge, err),
		})
	}
}

func (s *sender) send(ctx context.Context, o *pipeline.Output, partition int32, done send.Completion, headers []send.Header) error {
	r := send.Record{
		Topic: o.Topic, Partition: partition, Key: o.Key, Value: o.Value, Headers: headers, Timestamp: o.Timestamp, Done: done,
	}
	return s.p.Send(ctx, &r)
}

// limited bounds a call of a transaction: beyond the transaction's time-out the
// broker has ended it anyway.
func (s *sender) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// verdict says what an error means for the transaction.
func (s *sender) verdict(op string, err error) error {
	if err == nil {
		return nil
	}
	se := &pipeline.SinkError{Op: op, Err: err}
	if s != nil {
		s.mu.Lock()
		if s.err != nil {
			se.Err = errors.Join(err, s.err)
		}
		se.Rejected = s.rejected
		s.mu.Unlock()
	}
	if cluster.Rebalanced(err) {
		se.Err = fmt.Errorf("%w: %w", pipeline.ErrRebalanced, se.Err)
	}
	switch {
	case refusal(se.Err) != nil:
		return pipeline.Fatal(refusal(se.Err))
	case errors.Is(err, send.ErrFatal):
		return pipeline.Fatal(se)
	case errors.Is(err, send.ErrFenced):
		se.Verdict = pipeline.Fenced
	case errors.Is(err, send.ErrAbortable):
		se.Verdict = pipeline.Abortable
	}
	return se
}

// refusal is the cluster's refusal within an error, once and alone: it says all.
func refusal(err error) error {
	if e, ok := errors.AsType[*secure.AuthorizationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*secure.AuthenticationError](err); ok {
		return e
	}
	return nil
}

func (s *sender) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.rejected = nil, nil
}
