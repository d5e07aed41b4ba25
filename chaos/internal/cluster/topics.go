//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics creates topics of three replicas and returns when all brokers that run
// know their leaders.
func (c *Cluster) CreateTopics(ctx context.Context, partitions int32, topics ...string) error {
	for _, topic := range topics {
		tries := 0
		err := c.any(ctx, func(b *broker) error {
			tries++
			err := b.create(ctx, topic, partitions)
			if errors.Is(err, kerr.TopicAlreadyExists) && tries > 1 {
				return nil // an earlier try did it, and its answer was lost
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return c.Ready(ctx)
}

func (b *broker) create(ctx context.Context, topic string, partitions int32) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(askTimeout.Milliseconds())
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, NumBrokers
	req.Topics = append(req.Topics, rt)
	resp, err := b.ask(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// AddPartitions gives a topic more partitions, total of them, unless it has that many. It
// returns when all brokers that run know a leader of each.
func (c *Cluster) AddPartitions(ctx context.Context, topic string, total int32) error {
	err := c.any(ctx, func(b *broker) error {
		err := b.grow(ctx, topic, total)
		if errors.Is(err, kerr.InvalidPartitions) {
			return nil // it has them, or more: then the wait below is in vain
		}
		return err
	})
	if err == nil {
		err = c.each(ctx, func(b *broker) error { return b.knows(ctx, topic, total) })
	}
	if err != nil {
		return fmt.Errorf("add partitions to topic %s, %d in all: %w", topic, total, err)
	}
	return nil
}

func (b *broker) grow(ctx context.Context, topic string, total int32) error {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = int32(askTimeout.Milliseconds())
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, total
	req.Topics = append(req.Topics, rt)
	resp, err := b.ask(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.CreatePartitionsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// knows is nil if a broker knows a leader of each of so many partitions.
func (b *broker) knows(ctx context.Context, topic string, total int32) error {
	m, err := b.metadata(ctx, topic)
	if err != nil {
		return err
	}
	led := 0
	for _, p := range m.Topics[0].Partitions {
		if p.Leader > 0 {
			led++
		}
	}
	if led != int(total) {
		return fmt.Errorf("%d partitions have a leader", led)
	}
	return nil
}

// DeleteTopics deletes topics, if they are there, and returns when no broker that runs knows them any more.
func (c *Cluster) DeleteTopics(ctx context.Context, topics ...string) error {
	for _, topic := range topics {
		err := c.any(ctx, func(b *broker) error {
			err := b.delete(ctx, topic)
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				return nil // it is deleted already
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	return c.each(ctx, func(b *broker) error {
		m, err := b.metadata(ctx)
		if err != nil {
			return err
		}
		for _, t := range m.Topics {
			if slices.Contains(topics, *t.Topic) {
				return fmt.Errorf("topic %s is still there", *t.Topic)
			}
		}
		return nil
	})
}

func (b *broker) delete(ctx context.Context, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(askTimeout.Milliseconds())
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &topic
	req.Topics, req.TopicNames = append(req.Topics, rt), append(req.TopicNames, topic)
	resp, err := b.ask(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.DeleteTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}
