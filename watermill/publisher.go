package watermill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// PublisherConfig configures a [Publisher]. Brokers is required; every other field's zero
// value means its default.
type PublisherConfig struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// Marshaler makes records of messages. Default: DefaultMarshaler.
	Marshaler Marshaler
	// AutoCreateTopics says what a message for a topic that does not exist does.
	// Default: CreateTopics.
	AutoCreateTopics AutoCreateTopics
	// TopicDetails is how topics are created. Default: with the brokers' num.partitions
	// and default.replication.factor.
	TopicDetails *sarama.TopicDetail
	// Producer configures what is behind it: TLS, SASL, compression, time-outs,
	// interceptors, the partitioner ([SaramaHash] is watermill-kafka's). Its Brokers and
	// Logger are ignored, and TransactionalID must be empty. If its Linger and LingerMax
	// are zero, LingerMax is 5 ms: a message on its own leaves at once, those of many
	// goroutines together.
	Producer kafka.ProducerSettings
}

// Validate reports every mistake at once.
func (c PublisherConfig) Validate() error {
	var bad []error
	if c.Producer.TransactionalID != "" {
		bad = append(bad, errors.New("Producer.TransactionalID: a Publisher has no transactions; use a pipeline"))
	}
	bad = append(bad, mistakesOf(c.AutoCreateTopics, c.TopicDetails)...)
	bad = append(bad, c.settings(watermill.NopLogger{}).Validate())
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: watermill.PublisherConfig:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

func mistakesOf(create AutoCreateTopics, d *sarama.TopicDetail) (bad []error) {
	if create > NoCreateTopics {
		bad = append(bad, fmt.Errorf("AutoCreateTopics: %d is not known", create))
	}
	if d != nil && (d.NumPartitions < -1 || d.ReplicationFactor < -1) {
		bad = append(bad, errors.New("the topics' partitions and replicas must not be negative"))
	}
	return bad
}

// publisherLinger is the most that messages wait for others.
const publisherLinger = 5 * time.Millisecond

func (c PublisherConfig) settings(log watermill.LoggerAdapter) kafka.ProducerSettings {
	s := c.Producer
	s.Brokers, s.Logger, s.TransactionalID = c.Brokers, logging(log), ""
	if s.Producer.Linger == 0 && s.Producer.LingerMax == 0 {
		s.Producer.LingerMax = publisherLinger
	}
	return s
}

// Publisher is a Watermill publisher on [kafka.Producer]: idempotent, batched, with
// acks=all unless configured otherwise. Its methods may be called from any goroutine.
type Publisher struct {
	producer *kafka.Producer
	marshal  Marshaler
	topics   topics
	timeout  time.Duration // of one Publish
	log      watermill.LoggerAdapter
}

// NewPublisher connects, with few retries. The caller must Close what it returns. Without
// a logger nothing is logged.
func NewPublisher(config PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	if config.Marshaler == nil {
		config.Marshaler = DefaultMarshaler{}
	}
	s := config.settings(logger)
	producer, err := kafka.NewProducer(context.Background(), s) // bounded by MaxBlock
	if err != nil {
		return nil, err
	}
	d := s.Producer.WithDefaults()
	return &Publisher{
		producer: producer, marshal: config.Marshaler, timeout: d.DeliveryTimeout + max(d.MaxBlock, time.Minute), log: logger,
		topics: topics{
			cluster: cluster.Config{Brokers: s.Brokers, ClientID: s.ClientID, TLS: s.TLS, AllowInsecureTLS: s.AllowInsecureTLS, SASL: s.SASL},
			create:  config.AutoCreateTopics, detail: detailOf(config.TopicDetails),
		},
	}, nil
}

// Publish writes messages to a topic and returns when all of them are acknowledged, or
// one of them cannot be: then the error wraps a [*kafka.UndeliveredError], and others may
// have been written. All of a call travel together: give many at once rather than one.
// Messages of one call with the same key, or none and one partition, keep their order.
//
// It waits up to Producer.DeliveryTimeout and MaxBlock together, whatever the messages'
// contexts say, as Watermill wants it. To publish within a pipeline's transaction use an
// [Outbox].
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	records := make([]kafka.Record, len(messages))
	for i, msg := range messages {
		var err error
		if records[i], err = p.record(topic, msg); err != nil {
			return fmt.Errorf("message %s for topic %q: %w", msg.UUID, topic, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	for i := range records { // a marshaler may have chosen others
		if i > 0 && records[i].Topic == records[i-1].Topic {
			continue
		}
		if err := p.topics.ensure(ctx, records[i].Topic); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if _, err := p.producer.SendMany(ctx, records); err != nil {
		if errors.Is(err, pipeline.ErrMissingTopic) {
			p.topics.forget(topic)
		}
		return fmt.Errorf("publish %d messages to topic %q: %w", len(messages), topic, err)
	}
	p.log.Trace("Messages sent to Kafka", watermill.LogFields{"topic": topic, "messages": len(messages)})
	return nil
}

// record makes a record of a message.
func (p *Publisher) record(topic string, msg *message.Message) (r kafka.Record, err error) {
	m, err := p.marshal.Marshal(topic, msg)
	if err != nil {
		return r, fmt.Errorf("marshal: %w", err)
	}
	r.Topic, r.Timestamp = m.Topic, m.Timestamp
	if r.Key, err = encoded(m.Key); err != nil {
		return r, fmt.Errorf("marshal the key: %w", err)
	}
	if r.Value, err = encoded(m.Value); err != nil {
		return r, fmt.Errorf("marshal the value: %w", err)
	}
	r.Headers = make(pipeline.Headers, len(m.Headers))
	for i, h := range m.Headers {
		r.Headers[i] = pipeline.Header{Key: string(h.Key), Value: h.Value}
	}
	return r, nil
}

func encoded(e sarama.Encoder) ([]byte, error) {
	if e == nil {
		return nil, nil
	}
	return e.Encode()
}

// publisherCloseTimeout bounds Close.
const publisherCloseTimeout = 30 * time.Second

// Close waits up to 30 seconds until what is being published is written, and gives up
// the rest. Closing twice does nothing.
func (p *Publisher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), publisherCloseTimeout)
	defer cancel()
	_ = p.producer.Flush(ctx) // what has failed, Publish has said
	if err := p.producer.Close(ctx); err != nil {
		return fmt.Errorf("close the publisher: %w", err)
	}
	return nil
}
