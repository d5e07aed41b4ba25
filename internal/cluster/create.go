package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

// createTimeout is how long brokers may take to create a topic and to find its leaders.
const createTimeout = 30 * time.Second

// CreateTopic creates a topic and returns when every partition of it has a leader. One
// that exists is left as it is. Zero partitions or replicas mean the brokers' defaults,
// for which they must be of version 2.4 or later.
func (c *Client) CreateTopic(ctx context.Context, topic string, detail sarama.TopicDetail) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	if detail.NumPartitions == 0 {
		detail.NumPartitions = -1
	}
	if detail.ReplicationFactor == 0 {
		detail.ReplicationFactor = -1
	}
	for try := 0; ; try++ {
		err := c.create(ctx, topic, detail)
		if err == nil {
			err = c.led(ctx, topic)
		}
		if err == nil {
			return nil
		}
		if !mayPass(err) {
			return fmt.Errorf("create topic %q: %w", topic, err)
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return fmt.Errorf("create topic %q: not ready in time: %w", topic, err)
		}
	}
}

// mayPass tells whether it helps to ask again: after everything but a broker's definite
// answer. To create a topic twice does no harm.
func mayPass(err error) bool {
	answer, ok := errors.AsType[*sarama.TopicError](err)
	return !isAuth(err) && (!ok || answer.Err == sarama.ErrNotController || answer.Err == sarama.ErrRequestTimedOut)
}

func (c *Client) create(ctx context.Context, topic string, detail sarama.TopicDetail) error {
	// A broker that is asked because another is slow finds the topic there.
	return c.any(ctx, func(b *sarama.Broker) error {
		resp, err := b.CreateTopics(&sarama.CreateTopicsRequest{
			Version: 5, TopicDetails: map[string]*sarama.TopicDetail{topic: &detail}, Timeout: requestTimeout,
		})
		if err != nil {
			return err
		}
		answer := resp.TopicErrors[topic]
		switch {
		case answer == nil:
			return errNoAnswer
		case answer.Err == sarama.ErrNoError, answer.Err == sarama.ErrTopicAlreadyExists:
			return nil
		case isAuth(answer.Err):
			return pipeline.Fatal(secure.Denied(answer.Err, secure.Create, secure.Topic, topic))
		}
		return answer
	})
}

// led is nil if every partition of a topic has a leader.
func (c *Client) led(ctx context.Context, topic string) error {
	resp, err := c.metadata(ctx, []string{topic})
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return errNoAnswer
	}
	t := resp.Topics[0]
	failed := []error{}
	if t.Err != sarama.ErrNoError {
		failed = append(failed, t.Err)
	}
	for _, p := range t.Partitions {
		if p.Err != sarama.ErrNoError {
			failed = append(failed, fmt.Errorf("partition %d: %w", p.ID, p.Err))
		}
	}
	return errors.Join(failed...)
}
