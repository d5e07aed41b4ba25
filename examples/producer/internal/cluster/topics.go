package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
)

// makeTopics deletes the topics, which an example that was killed has left, and makes
// them anew.
func (c *Cluster) makeTopics(ctx context.Context) error {
	return c.withClient(func(k *kgo.Client) error {
		if err := deleteTopics(ctx, k, c.topics); err != nil {
			return err
		}
		for _, t := range c.topics {
			if err := createTopic(ctx, k, t); err != nil {
				return fmt.Errorf("topic %q: %w", t.Name, err)
			}
		}
		return nil
	})
}

func createTopic(ctx context.Context, k *kgo.Client, t embedded.Topic) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.Name, int32(max(1, t.Partitions)), 1
	for name, value := range t.Config {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, &value
		topic.Configs = append(topic.Configs, config)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return err
	}
	return await(ctx, "there on every broker", func() bool {
		if !known(ctx, k, topic.Topic, topic.NumPartitions) {
			return false
		}
		_, err := ends(ctx, k, topic.Topic) // its leaders lead: they know it before that
		return err == nil
	})
}

// known reports whether every broker knows the topic's leaders: each hears of it a
// moment after the controller has made it.
func known(ctx context.Context, k *kgo.Client, topic string, partitions int32) bool {
	answer, ok := askFor(ctx, k, topic, partitions)
	for i := 0; ok && i < len(answer.Brokers); i++ {
		_, ok = askFor(ctx, k.Broker(int(answer.Brokers[i].NodeID)), topic, partitions)
	}
	return ok
}

func askFor(ctx context.Context, who kmsg.Requestor, topic string, partitions int32) (resp *kmsg.MetadataResponse, known bool) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, who)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != int(partitions) {
		return resp, false
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			return resp, false
		}
	}
	return resp, true
}

func await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("not "+what+" after 10 s"))
	defer cancel()
	for !done() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func deleteTopics(ctx context.Context, k *kgo.Client, topics []embedded.Topic) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	for _, t := range topics {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &t.Name
		req.Topics, req.TopicNames = append(req.Topics, topic), append(req.TopicNames, t.Name)
	}
	resp, err := req.RequestWith(ctx, k)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic %q: %w", *t.Topic, err)
		}
	}
	return nil
}
