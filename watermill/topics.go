package watermill

import (
	"context"
	"errors"
	"sync"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// AutoCreateTopics says what to do about topics that do not exist.
type AutoCreateTopics uint8

const (
	// CreateTopics creates them. It is the default, since Watermill's applications
	// expect it. It needs the right CREATE on those topics, or on the cluster.
	CreateTopics AutoCreateTopics = iota
	// NoCreateTopics fails with [pipeline.ErrMissingTopic].
	NoCreateTopics
)

// topics looks for topics before they are used for the first time.
type topics struct {
	cluster cluster.Config
	create  AutoCreateTopics
	detail  sarama.TopicDetail
	there   sync.Map // by name
}

// ensure returns nil if a topic is there, creating it if that is wished.
func (t *topics) ensure(ctx context.Context, topic string) error {
	if _, ok := t.there.Load(topic); ok {
		return nil
	}
	err := t.ask(ctx, func(c *cluster.Client) error {
		_, err := c.Partitions(ctx, []string{topic})
		if errors.Is(err, pipeline.ErrMissingTopic) && t.create == CreateTopics {
			return c.CreateTopic(ctx, topic, t.detail)
		}
		return err
	})
	if err == nil {
		t.there.Store(topic, nil)
	}
	return err
}

// forget has a topic looked for again.
func (t *topics) forget(topic string) { t.there.Delete(topic) }

func (t *topics) ask(ctx context.Context, question func(*cluster.Client) error) error {
	c, err := cluster.Open(ctx, t.cluster)
	if err != nil {
		return err
	}
	return errors.Join(question(c), c.Close())
}

func detailOf(d *sarama.TopicDetail) sarama.TopicDetail {
	if d == nil {
		return sarama.TopicDetail{}
	}
	return *d
}
