package kafka

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// Sink writes outputs to Kafka. It is a [pipeline.TransactionalSink] for one run;
// under AtLeastOnce its producer is idempotent and not transactional.
type Sink struct {
	cfg      Config
	producer ProducerConfig
	txnID    string
	client   *cluster.Client
	log      *slog.Logger

	topics atomic.Pointer[map[string]*topic]

	sender *sender // of the goroutine that ends transactions
	metering

	interceptors interceptors
	acks         *acknowledger // nil without interceptors
	inTxn        bool          // a transaction is open, for those who want to know its end
	failed       bool          // the last transaction has, so topics may be gone
	closed       sync.Once     // the interceptors are
}

// NewSink returns a sink. It connects when it is opened.
func NewSink(cfg Config) *Sink {
	return &Sink{cfg: cfg, interceptors: newInterceptors(cfg.Interceptors, cfg.logger())}
}

// topic is what the sink knows of an output topic.
type topic struct {
	partitions int32
	sticky     *sticky // for records without a key
}

// Open connects with few retries and checks that the topics exist.
func (s *Sink) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	interval := cmp.Or(s.cfg.CommitInterval, pipeline.DefaultCommitInterval)
	s.producer = s.cfg.Producer.withDefaults(interval)
	orDefault(&s.producer.MaxBlock, s.producer.DeliveryTimeout)
	s.log = s.cfg.logger()
	client, err := cluster.Open(ctx, s.cfg.cluster())
	if err != nil {
		return pipeline.Terms{}, err
	}
	s.client = client
	counts, err := client.Partitions(ctx, spec.Outputs)
	if err != nil {
		return pipeline.Terms{}, secure.Needs(err, secure.Write)
	}
	s.remember(counts)
	warnOfRecompression(ctx, client, spec.Outputs, s.producer.Compression, s.log)
	terms := pipeline.Terms{Guarantee: spec.Guarantee, Cluster: client.ID(), MaxRecordSize: s.producer.MaxRequestSize}
	if len(s.interceptors) > 0 {
		terms.Intercept = s.interceptors.onSend
		s.acks = newAcknowledger(s.interceptors)
	}
	if spec.Guarantee == pipeline.ExactlyOnce {
		terms.Limits.Transaction = s.producer.TransactionTimeout
		s.txnID = transactionalID(s.cfg, spec.Pipeline)
		return terms, nil
	}
	if s.sender, err = newSender(ctx, s.cfg, s.producer, ""); err != nil {
		return pipeline.Terms{}, err
	}
	s.measure(s.sender.p)
	return terms, s.knowTopics(ctx, s.sender)
}

// transactionalID is stable for a named instance, so that a restart ends what the
// run before it left open.
func transactionalID(cfg Config, pipelineName string) string {
	if cfg.Instance == "" {
		cfg.Instance = rand.Text()
	}
	return cfg.TransactionalID(pipelineName)
}

// TransactionalID returns the transactional.id of a worker that runs the pipeline of
// that name: application-group-instance-slot. There is one producer to a worker: slot
// 0. Without Instance a worker makes up a name in its place; the rest is what a rule
// of access by prefix can name.
func (c Config) TransactionalID(pipelineName string) string {
	return fmt.Sprintf("%s-%s-%s-0", cmp.Or(c.Application, defaultApplication), cmp.Or(c.Group, pipelineName), c.Instance)
}

func (s *Sink) remember(counts map[string]int32) {
	old := s.topics.Load()
	m := make(map[string]*topic, len(counts))
	for name, n := range counts {
		t := &topic{partitions: n}
		if old != nil && (*old)[name] != nil {
			t.sticky = (*old)[name].sticky
		} else {
			t.sticky = newSticky(s.producer.BatchSize)
		}
		m[name] = t
	}
	s.topics.Store(&m)
}

// known returns the output topics with the partitions that the producer knows now:
// none may be chosen that it does not know yet.
func (s *Sink) known(ctx context.Context) (map[string]*topic, error) {
	m := *s.topics.Load()
	var counts map[string]int32
	for name, t := range m {
		n, err := s.sender.p.Partitions(ctx, name)
		if err != nil {
			return nil, err
		}
		if n != t.partitions && counts == nil {
			counts = make(map[string]int32, len(m))
			for name, t := range m {
				counts[name] = t.partitions
			}
		}
		if counts != nil {
			counts[name] = n
		}
	}
	if counts != nil {
		s.remember(counts)
	}
	return *s.topics.Load(), nil
}

// knowTopics has the producer learn the output topics.
func (s *Sink) knowTopics(ctx context.Context, sender *sender) error {
	for name := range *s.topics.Load() {
		if _, err := sender.p.Partitions(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Send hands outputs to the producer; it blocks while its buffer is full.
func (s *Sink) Send(ctx context.Context, outputs []pipeline.Output) error {
	topics, err := s.known(ctx)
	if err != nil {
		return &pipeline.SinkError{Op: "send", Verdict: pipeline.Abortable, Err: err}
	}
	told := s.outcomes(len(outputs))
	var headers []send.Header
	for i := range outputs {
		o := &outputs[i]
		t := topics[o.Topic]
		if t == nil {
			return pipeline.Fatal(fmt.Errorf("%w: %q", pipeline.ErrMissingTopic, o.Topic))
		}
		headers = headers[:0]
		for _, h := range o.Headers {
			headers = append(headers, send.Header(h))
		}
		part, err := t.partition(o)
		if err != nil {
			part = noPartition
		}
		done := told.of(i, s.sender, o, part)
		if err == nil {
			err = told.expect(ctx, i, s.producer.MaxBlock)
		}
		if err == nil {
			err = s.sender.send(ctx, o, part, done, headers)
		}
		if err != nil {
			told.refuse(i, err)
			return notTaken(o, err)
		}
	}
	return nil
}

// notTaken says what it means that the producer has not taken an output.
func notTaken(o *pipeline.Output, err error) error {
	se := &pipeline.SinkError{Op: "send", Verdict: pipeline.Abortable, Err: err}
	if errors.Is(err, ErrPartition) {
		se.Op = "partition"
	}
	if errors.Is(err, ErrPartition) || errors.Is(err, send.ErrTooLarge) || errors.Is(err, send.ErrTimestamp) { // the record's own fault
		se.Rejected = []pipeline.Rejection{{Origin: o.Origin, Topic: o.Topic, Err: err}}
	}
	return se
}

// Flush waits for the acknowledgement of everything sent, and reports the first
// record that was not.
func (s *Sink) Flush(ctx context.Context) error {
	defer s.settle(ctx)
	if err := s.sender.p.Flush(ctx); err != nil {
		s.failed = true
		return s.sender.verdict("flush", err)
	}
	s.sender.mu.Lock()
	err := s.sender.err
	s.sender.mu.Unlock()
	defer s.sender.forget()
	s.failed = err != nil
	return errors.Join(s.sender.verdict("flush", err), s.gone(ctx))
}

// Init makes a new producer with the transactional id, which ends whatever an
// earlier one left open.
func (s *Sink) Init(ctx context.Context) error {
	s.giveUp()
	if err := s.gone(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.producer.TransactionTimeout)
	defer cancel()
	sender, err := newSender(ctx, s.cfg, s.producer, s.txnID)
	if err == nil {
		err = s.knowTopics(ctx, sender)
	}
	s.sender = sender
	if sender != nil {
		s.measure(sender.p)
	}
	return sender.verdict("init", err)
}

// gone looks whether an output topic was deleted, once something has failed: what is for
// it would be tried again for ever.
func (s *Sink) gone(ctx context.Context) error {
	if !s.failed {
		return nil
	}
	s.failed = false
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return s.client.Gone(ctx, slices.Collect(maps.Keys(*s.topics.Load())))
}

// lookTimeout bounds the look: brokers that do not answer have not deleted anything.
const lookTimeout = 5 * time.Second

// Begin opens a transaction.
func (s *Sink) Begin(ctx context.Context) error {
	if err := s.gone(ctx); err != nil {
		return err
	}
	s.sender.forget()
	ctx, cancel := s.sender.limited(ctx)
	defer cancel()
	err := s.sender.p.Begin(ctx)
	s.inTxn = err == nil
	return s.sender.verdict("begin", err)
}

// SendOffsets adds positions to the transaction.
func (s *Sink) SendOffsets(ctx context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	ctx, cancel := s.sender.limited(ctx)
	defer cancel()
	return s.sender.verdict("offsets", s.sender.p.SendOffsets(ctx, offsets, group))
}

// Commit flushes and commits.
func (s *Sink) Commit(ctx context.Context) error {
	defer s.settle(ctx)
	ctx, cancel := s.sender.limited(ctx)
	defer cancel()
	err := s.sender.p.Commit(ctx)
	if !errors.Is(err, send.ErrAbortable) { // else it is aborted next
		s.ended(err)
	}
	return s.sender.verdict("commit", err)
}

// Abort discards the transaction.
func (s *Sink) Abort(ctx context.Context) error {
	s.failed = true
	defer s.settle(ctx)
	ctx, cancel := s.sender.limited(ctx)
	defer cancel()
	err := s.sender.p.Abort(ctx)
	s.ended(ErrAborted) // also if that fails: nothing of it becomes visible
	s.sender.forget()
	return s.sender.verdict("abort", err)
}

// closeTimeout bounds the end of a producer that is given up.
const closeTimeout = 2 * time.Second

func (s *Sink) giveUp() {
	if s.sender == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.sender.p.Close(ctx, 0); err != nil {
		s.log.Warn("producer does not close", "error", err)
	}
	s.sender = nil
	s.ended(ErrAborted) // what is open will never be committed
}

// Close releases the connections and closes the interceptors.
func (s *Sink) Close() error {
	s.giveUp()
	var err error
	if s.acks != nil {
		err = s.acks.close()
	}
	err = errors.Join(err, s.closeInterceptors())
	if s.client != nil {
		err = errors.Join(err, s.client.Close())
	}
	return err
}

func (s *Sink) closeInterceptors() (err error) {
	s.closed.Do(func() { err = s.interceptors.close() })
	return err
}

// InterceptorFailures implements pipeline.InterceptorMeter.
func (s *Sink) InterceptorFailures() int64 { return s.interceptors.failures() }
