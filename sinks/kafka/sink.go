package kafka

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
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

	topics    atomic.Pointer[map[string]*topic]
	refreshed atomic.Int64 // unix ns
	refresh   sync.Mutex

	async   *asyncProducer
	careful bool // the next producer sends one record a batch
}

// NewSink returns a sink. It connects when it is opened.
func NewSink(cfg Config) *Sink { return &Sink{cfg: cfg} }

// topic is what the sink knows of an output topic.
type topic struct {
	partitions int32
	next       atomic.Uint32 // for records without a key
}

// topicsMaxAge is how old the partition counts may get. Kafka's
// metadata.max.age.ms is five minutes.
const topicsMaxAge = time.Minute

// Open connects with few retries and checks that the topics exist.
func (s *Sink) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	interval := cmp.Or(s.cfg.CommitInterval, pipeline.DefaultCommitInterval)
	s.producer = s.cfg.Producer.withDefaults(interval)
	s.log = cmp.Or(s.cfg.Logger, slog.Default())
	client, err := cluster.Open(ctx, s.cfg.cluster())
	if err != nil {
		return pipeline.Terms{}, err
	}
	s.client = client
	counts, err := client.Partitions(ctx, spec.Outputs)
	if err != nil {
		return pipeline.Terms{}, err
	}
	s.remember(counts)
	terms := pipeline.Terms{Guarantee: spec.Guarantee, Cluster: client.ID(), MaxRecordSize: s.producer.MaxRequestSize}
	if spec.Guarantee == pipeline.ExactlyOnce {
		terms.Limits.Transaction = s.producer.TransactionTimeout
		s.txnID = transactionalID(s.cfg, spec.Pipeline)
		return terms, nil
	}
	s.async, err = newAsyncProducer(s.cfg, s.producer, "", false)
	return terms, err
}

// transactionalID is stable for a named instance, so that a restart ends what the
// run before it left open. There is one producer to a worker: slot 0.
func transactionalID(cfg Config, pipelineName string) string {
	instance := cfg.Instance
	if instance == "" {
		instance = rand.Text()
	}
	return fmt.Sprintf("%s-%s-%s-0", cmp.Or(cfg.Application, defaultApplication), cmp.Or(cfg.Group, pipelineName), instance)
}

func (s *Sink) remember(counts map[string]int32) {
	old := s.topics.Load()
	m := make(map[string]*topic, len(counts))
	for name, n := range counts {
		m[name] = &topic{partitions: n}
		if old != nil && (*old)[name] != nil {
			m[name].next.Store((*old)[name].next.Load())
		}
	}
	s.topics.Store(&m)
	s.refreshed.Store(time.Now().UnixNano())
}

// known returns the output topics, asked for anew when that is due.
func (s *Sink) known(ctx context.Context) map[string]*topic {
	if time.Since(time.Unix(0, s.refreshed.Load())) > topicsMaxAge && s.refresh.TryLock() {
		defer s.refresh.Unlock()
		m := *s.topics.Load()
		names := make([]string, 0, len(m))
		for name := range m {
			names = append(names, name)
		}
		if counts, err := s.client.Partitions(ctx, names); err == nil {
			s.remember(counts)
		} else {
			s.refreshed.Store(time.Now().UnixNano()) // what was known stays good enough
		}
	}
	return *s.topics.Load()
}

// Send hands outputs to the producer; it blocks while that takes no more.
func (s *Sink) Send(ctx context.Context, outputs []pipeline.Output) error {
	topics := s.known(ctx)
	msgs := make([]message, len(outputs))
	for i := range outputs {
		o := &outputs[i]
		t := topics[o.Topic]
		if t == nil {
			return pipeline.Fatal(fmt.Errorf("%w: %q", pipeline.ErrMissingTopic, o.Topic))
		}
		part, err := t.partition(o)
		if err != nil {
			return &pipeline.SinkError{
				Op: "partition", Verdict: pipeline.Abortable, Err: err,
				Rejected: []pipeline.Rejection{{Origin: o.Origin, Topic: o.Topic, Err: err}},
			}
		}
		msgs[i].set(o, part)
	}
	return s.async.send(ctx, msgs)
}

// Flush waits for the acknowledgement of everything sent. If a batch was refused
// as too large, the next producer sends each record alone, until a flush succeeds.
func (s *Sink) Flush(ctx context.Context) error {
	err := s.async.flush(ctx)
	refused := s.async.refusedBatch()
	s.async.forget()
	if refused == s.careful || err != nil && !refused {
		return err
	}
	a, aerr := newAsyncProducer(s.cfg, s.producer, "", refused)
	if aerr != nil {
		return errors.Join(err, verdict("flush", aerr))
	}
	s.async.discard()
	s.async, s.careful = a, refused
	return err
}

// Init makes a new producer with the transactional id, which ends whatever an
// earlier one left open.
func (s *Sink) Init(ctx context.Context) error {
	if s.async != nil {
		s.async.discard()
		s.async = nil
	}
	a, err := newAsyncProducer(s.cfg, s.producer, s.txnID, s.careful)
	if err != nil {
		return verdict("init", err)
	}
	s.async = a
	return nil
}

// Begin opens a transaction.
func (s *Sink) Begin(context.Context) error { return s.async.begin() }

// SendOffsets adds positions to the transaction.
func (s *Sink) SendOffsets(_ context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	return s.async.sendOffsets(offsets, group)
}

// Commit flushes and commits.
func (s *Sink) Commit(ctx context.Context) error {
	err := s.async.commit()
	if err == nil && s.careful { // what made it careful is through
		s.careful = false
		return s.Init(ctx)
	}
	return err
}

// Abort discards the transaction. If a batch was refused as too large, which of
// its records it was is found by sending each alone.
func (s *Sink) Abort(ctx context.Context) error {
	err := s.async.abort()
	split := s.async.refusedBatch()
	s.careful = s.careful || split
	switch {
	case errors.Is(err, errCommitStuck), err == nil && split:
		return s.Init(ctx) // which ends the transaction, too
	default:
		return err
	}
}

// Close releases the connections.
func (s *Sink) Close() error {
	var errs []error
	if s.async != nil {
		errs = append(errs, s.async.close())
	}
	if s.client != nil {
		errs = append(errs, s.client.Close())
	}
	return errors.Join(errs...)
}
