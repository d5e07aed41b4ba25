package watermill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// SubscriberConfig configures a [Subscriber]. Brokers is required; every other field's
// zero value means its default.
type SubscriberConfig struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// Unmarshaler makes messages of records. A record of which it can make none holds up
	// its partition: the subscription fails, and tries again. Default: DefaultMarshaler.
	Unmarshaler Unmarshaler
	// ConsumerGroup is the group whose members share the messages. Without one every
	// subscription receives all messages: it has a group of its own with a random name,
	// which the brokers forget in time (offsets.retention.minutes).
	ConsumerGroup string
	// NackResendSleep is the wait before a message is delivered again. Default: 100 ms;
	// NoSleep does not wait.
	NackResendSleep time.Duration
	// ReconnectRetrySleep is the wait before a subscription that has failed is tried
	// again; that brokers go and come does not make it fail. Default: 1 s; NoSleep does
	// not wait.
	ReconnectRetrySleep time.Duration
	// CommitInterval is the time between commits of what was acknowledged. Default:
	// 100 ms.
	CommitInterval time.Duration
	// AutoCreateTopics says what a subscription to a topic that does not exist does.
	// Default: CreateTopics.
	AutoCreateTopics AutoCreateTopics
	// InitializeTopicDetails is how topics are created. Default: with the brokers'
	// num.partitions and default.replication.factor.
	InitializeTopicDetails *sarama.TopicDetail
	// Source configures what is behind it: TLS, SASL, time-outs, static membership, and
	// where a group begins, which is the beginning by default (watermill-kafka's default
	// is the end: kafka.Latest). Its Brokers, Group and Logger are ignored, and UntilEnd
	// must not be set.
	Source kafkasource.Config
}

// NoSleep is the NackResendSleep or ReconnectRetrySleep that does not wait.
const NoSleep time.Duration = -1

const (
	defaultNackResendSleep     = 100 * time.Millisecond
	defaultReconnectRetrySleep = time.Second
)

// Validate reports every mistake at once.
func (c SubscriberConfig) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if c.NackResendSleep < 0 && c.NackResendSleep != NoSleep {
		report("NackResendSleep must not be negative; NoSleep does not wait")
	}
	if c.ReconnectRetrySleep < 0 && c.ReconnectRetrySleep != NoSleep {
		report("ReconnectRetrySleep must not be negative; NoSleep does not wait")
	}
	if c.CommitInterval < 0 {
		report("CommitInterval must not be negative")
	}
	if c.Source.UntilEnd {
		report("Source.UntilEnd: a subscription has no end")
	}
	if c.ConsumerGroup == "" && c.Source.Instance != "" {
		report("Source.Instance needs a ConsumerGroup to be a member of")
	}
	bad = append(bad, mistakesOf(c.AutoCreateTopics, c.InitializeTopicDetails)...)
	bad = append(bad, c.source("", watermill.NopLogger{}).Validate())
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: watermill.SubscriberConfig:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.Unmarshaler == nil {
		c.Unmarshaler = DefaultMarshaler{}
	}
	for d, def := range map[*time.Duration]time.Duration{
		&c.NackResendSleep: defaultNackResendSleep, &c.ReconnectRetrySleep: defaultReconnectRetrySleep,
	} {
		switch *d {
		case 0:
			*d = def
		case NoSleep:
			*d = 0
		}
	}
	return c
}

func (c SubscriberConfig) source(group string, log watermill.LoggerAdapter) kafkasource.Config {
	s := c.Source
	s.Brokers, s.Group, s.Logger = c.Brokers, group, logging(log)
	return s
}

// Subscriber is a Watermill subscriber on Leat's source. It delivers at least once, the
// messages of each partition in order and one at a time: the next comes when the last
// was acknowledged. A message that is refused (Nack) comes again, as it was read.
//
// Acknowledged messages are committed every CommitInterval and before a partition goes to
// another member; a crash repeats what was acknowledged since. Its methods may be called
// from any goroutine.
type Subscriber struct {
	config SubscriberConfig
	topics topics
	log    watermill.LoggerAdapter

	closing context.Context // ends with Close
	end     context.CancelFunc

	mu      sync.Mutex // closed, and Go against Wait
	closed  bool
	running sync.WaitGroup
}

// ErrClosed says that the subscriber is closed.
var ErrClosed = errors.New("the subscriber is closed")

// NewSubscriber returns a subscriber. It connects when it is used. Without a logger
// nothing is logged.
func NewSubscriber(config SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	config = config.withDefaults()
	s := &Subscriber{config: config, log: logger, topics: topics{
		cluster: cluster.Config{
			Brokers: config.Brokers, ClientID: config.Source.ClientID, TLS: config.Source.TLS,
			AllowInsecureTLS: config.Source.AllowInsecureTLS, SASL: config.Source.SASL,
		},
		create: config.AutoCreateTopics, detail: detailOf(config.InitializeTopicDetails),
	}}
	s.closing, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe joins the group and returns the channel on which messages come. It closes
// when ctx ends or the subscriber is closed; until then the subscription goes on, whatever
// happens to the brokers. Wrong addresses and a missing topic are errors; what fails later
// is logged.
//
// A message's context has ctx's values and those that MessagePartitionFromCtx and its like
// read. It ends when the message is acknowledged or refused, and when it must be given up
// since the partition is.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.topics.ensure(ctx, topic); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to topic %q: %w", topic, ErrClosed)
	}
	sub := newSubscription(s, topic)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.closing, cancel)
	s.running.Go(func() {
		defer cancel()
		defer unhook()
		sub.run(ctx)
	})
	return sub.out, nil
}

// SubscribeInitialize creates a topic, with InitializeTopicDetails, and returns when it is
// ready. Subscribe does so, too, unless told not to.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx := s.closing
	return s.topics.ask(ctx, func(c *cluster.Client) error { return c.CreateTopic(ctx, topic, s.topics.detail) })
}

// PartitionOffset are offsets by partition.
type PartitionOffset map[int32]int64

// PartitionOffset returns the end of each partition of a topic: the offset of the next
// message.
func (s *Subscriber) PartitionOffset(topic string) (PartitionOffset, error) {
	ends := PartitionOffset{}
	err := s.topics.ask(s.closing, func(c *cluster.Client) error {
		offsets, err := c.Offsets(s.closing, []string{topic}, cluster.Latest)
		for part, end := range offsets {
			ends[part.Partition] = end
		}
		return err
	})
	return ends, err
}

// Close ends all subscriptions: what was acknowledged is committed, what was not is
// delivered to whoever subscribes next, and their channels are closed. Closing twice does
// nothing.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
	return nil
}
