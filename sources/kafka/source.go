package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

// Source reads topics as one member of a consumer group. It is a
// [pipeline.Source], a [pipeline.TableSource] and a [pipeline.StateSource], for one run.
type Source struct {
	cfg    Config
	spec   pipeline.Spec
	client *cluster.Client
	parts  []pipeline.Partition         // of the inputs
	ends   map[pipeline.Partition]int64 // those of UntilEnd that are not reached yet
	seen   map[pipeline.Partition]int64 // the same, as the brokers have said
	next   map[pipeline.Partition]int64 // those that are taken anew, if they are not decided yet
	rounds int                          // how often they were taken anew
	ids    map[string]string            // of the inputs

	mu   sync.Mutex
	last pipeline.GroupMetadata // as of the latest session
	lags map[string]*atomic.Int64
	asks map[string]chan *goal // by table topic

	fetch atomic.Pointer[fetcher] // of Run
}

// New returns a source. It connects when it is opened.
func New(cfg Config) *Source { return &Source{cfg: cfg} }

// Open connects with few retries and checks that the topics exist.
func (s *Source) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	if err := s.cfg.Validate(); err != nil {
		return pipeline.Terms{}, err
	}
	s.cfg, s.spec = s.cfg.withDefaults(spec.Pipeline), spec
	client, err := cluster.Open(ctx, s.cfg.cluster())
	if err != nil {
		return pipeline.Terms{}, err
	}
	s.client = client
	counts, err := client.Partitions(ctx, slices.Concat(spec.Inputs, spec.Tables, spec.StateTopics()))
	if err != nil {
		return pipeline.Terms{}, secure.Needs(err, secure.Read)
	}
	if err := spec.CheckStates(counts); err != nil {
		return pipeline.Terms{}, err
	}
	for _, topic := range spec.Inputs {
		for p := range counts[topic] {
			s.parts = append(s.parts, pipeline.Partition{Topic: topic, Partition: p})
		}
	}
	if s.ids, err = client.TopicIDs(ctx, spec.Inputs); err != nil {
		return pipeline.Terms{}, err
	}
	if s.cfg.UntilEnd {
		if s.ends, err = client.Offsets(ctx, spec.Inputs, cluster.Latest); err != nil {
			return pipeline.Terms{}, err
		}
		s.seen = maps.Clone(s.ends)
	}
	return pipeline.Terms{
		Guarantee: pipeline.ExactlyOnce, Cluster: client.ID(), AsksStart: true, Limits: pipeline.Limits{Rebalance: s.cfg.RebalanceTimeout},
	}, nil
}

// Close releases the connections.
func (s *Source) Close() error {
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// Run joins the group and delivers until ctx ends, or until the end if UntilEnd
// is set.
func (s *Source) Run(ctx context.Context, w *pipeline.Worker) error {
	if err := s.pinStart(ctx); err != nil {
		return err
	}
	if s.cfg.UntilEnd {
		return s.runUntilEnd(ctx, w)
	}
	return s.run(ctx, w)
}

func (s *Source) run(ctx context.Context, w *pipeline.Worker) (err error) {
	conns := new(connections)
	conf := s.sarama(conns)
	if err := authenticate(ctx, conf, s.cfg.SASL); err != nil {
		return err
	}
	// sarama would ask for the coordinator again and again, for minutes.
	if err := s.client.FindGroup(ctx, s.cfg.Group); isFatal(err) {
		return s.groupError(err)
	}
	group, err := sarama.NewConsumerGroup(s.cfg.Brokers, s.cfg.Group, conf)
	if err != nil {
		return s.groupError(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h := &handler{s: s, w: w, fail: cancel, group: group, fetch: newFetcher(&s.cfg, s.client), left: make(chan struct{})}
	s.fetch.Store(h.fetch)
	var drained sync.WaitGroup
	drained.Go(func() { h.watch(group.Errors()) })
	drained.Go(func() { h.watchTopics(ctx) })
	defer func() {
		cancel(nil)       // if the error is not the context's
		_ = group.Close() // a dynamic member leaves
		close(h.left)
		drained.Wait()
		h.watching.Wait()
		h.fetch.close()
		s.leave()
	}()
	defer context.AfterFunc(ctx, func() { conns.cutJoin(h) })()

	for try := 0; ; try++ {
		if err := w.Ready(ctx); err != nil {
			if ctx.Err() != nil {
				return h.outcome(ctx)
			}
			return err
		}
		began := h.sessions.Load()
		err := s.consume(ctx, group, h)
		if ctx.Err() != nil {
			return h.outcome(ctx)
		}
		if isFatal(err) {
			return s.groupError(err)
		}
		if h.sessions.Load() != began {
			try = 0
		}
		if err != nil {
			s.cfg.Logger.Warn("consumer group: trying again", "group", s.cfg.Group, "error", err)
		}
		select {
		case <-time.After(pipeline.Backoff{Initial: 50 * time.Millisecond}.Wait(try)):
		case <-ctx.Done():
			return h.outcome(ctx)
		}
	}
}

// consume is one session, with the joins before and in it.
func (s *Source) consume(ctx context.Context, group sarama.ConsumerGroup, h *handler) error {
	if s.cfg.Instance == "" || s.cfg.Assignment != CooperativeSticky {
		return group.Consume(ctx, s.spec.Inputs, h)
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if s.awaitOrphans(ctx, h) {
			cancel()
		}
	})
	defer watch.Wait()
	defer cancel()
	return group.Consume(ctx, s.spec.Inputs, h)
}

// sarama returns the configuration of the group's own client. Its retry budget is
// large: a rebalance that outlasts it would start the next one.
func (s *Source) sarama(conns *connections) *sarama.Config {
	c := s.cfg.cluster().Sarama()
	conns.install(c)
	c.Metadata.Retry.Max = 200
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	if s.cfg.Start.latest {
		c.Consumer.Offsets.Initial = sarama.OffsetNewest
	}
	c.Consumer.IsolationLevel = sarama.ReadCommitted // of the offset fetch, too
	// The fetcher reads. sarama's own consumers are paused, after one fetch at most.
	c.Consumer.Fetch.Default, c.Consumer.MaxWaitTime = 1, fetchMaxWaitShort
	g := &c.Consumer.Group
	g.Session.Timeout, g.Heartbeat.Interval = s.cfg.SessionTimeout, s.cfg.HeartbeatInterval
	g.Rebalance.Timeout = s.cfg.RebalanceTimeout
	g.Rebalance.Retry.Backoff = 250 * time.Millisecond
	g.InstanceId = s.cfg.Instance
	g.ResetInvalidOffsets = s.cfg.ResetOutOfRange
	g.Rebalance.GroupStrategies = []sarama.BalanceStrategy{s.cfg.Assignment.strategy()}
	return c
}

func (a Assignment) strategy() sarama.BalanceStrategy {
	switch a {
	case Range:
		return sarama.NewBalanceStrategyRange()
	case RoundRobin:
		return sarama.NewBalanceStrategyRoundRobin()
	default:
		return sarama.NewBalanceStrategyCooperativeSticky()
	}
}

// leave makes a static member leave if that is wished. sarama never does.
func (s *Source) leave() {
	if !s.cfg.LeaveGroup {
		return
	}
	s.mu.Lock()
	group := s.last
	s.mu.Unlock()
	if group.Group == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.client.Leave(ctx, group); err != nil {
		s.cfg.Logger.Warn("leaving the group", "group", group.Group, "error", err)
	}
}

// groupError is an error of the group's own client; if it is fatal, it says so.
func (s *Source) groupError(err error) error {
	topics := strings.Join(s.spec.Inputs, ",")
	if e, ok := errors.AsType[*sarama.ConsumerError](err); ok {
		topics = e.Topic
	}
	err = s.readError(err, topics)
	fatal := isFatal(err)
	where := fmt.Sprintf("pipeline %q", s.spec.Pipeline)
	if _, says := errors.AsType[*secure.AuthorizationError](err); !says {
		where += fmt.Sprintf(", group %q", s.cfg.Group)
	}
	err = fmt.Errorf("%s: %w", where, err)
	if fatal {
		return pipeline.Fatal(err)
	}
	return err
}

// readError says what a refusal means that sarama has met.
func (s *Source) readError(err error, topic string) error {
	switch {
	case errors.Is(err, sarama.ErrSASLAuthenticationFailed):
		return s.cfg.SASL.CredentialsRefused(strings.Join(s.cfg.Brokers, ","), err)
	case errors.Is(err, sarama.ErrGroupAuthorizationFailed):
		return secure.Denied(err, secure.Read, secure.Group, s.cfg.Group)
	}
	return secure.Denied(err, secure.Read, secure.Topic, topic)
}

// isFatal tells errors of the group that joining again does not cure.
func isFatal(err error) bool {
	return cluster.IsAuth(err) || slices.ContainsFunc([]error{
		sarama.ErrUnsupportedVersion, sarama.ErrInvalidSessionTimeout, sarama.ErrInconsistentGroupProtocol,
		sarama.ErrInvalidGroupId, sarama.ErrGroupMaxSizeReached, sarama.ErrFencedInstancedId,
	}, func(e error) bool { return errors.Is(err, e) })
}
