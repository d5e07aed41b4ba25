//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds one question to one broker, which may have been stopped just now.
const askTimeout = 5 * time.Second

// Of FindCoordinator.
const (
	ofGroup       = 0
	ofTransaction = 1
)

// dial makes a client that knows one broker and follows no metadata. It connects when
// it is asked something.
func dial(addr string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("leat-chaos"), kgo.DialTimeout(askTimeout), kgo.DisableClientMetrics())
}

// ask puts a question to this broker, once.
func (b *broker) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return b.direct.SeedBrokers()[0].Request(ctx, req)
}

// metadata is the broker's view of all topics, or of some.
func (b *broker) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &t
		req.Topics = append(req.Topics, rt)
	}
	resp, err := b.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// any asks the brokers that should answer one after the other until one has an answer.
func (c *Cluster) any(ctx context.Context, question func(*broker) error) error {
	return c.until(ctx, func() error {
		some, err := c.answering()
		if err != nil {
			return err
		}
		for _, b := range some {
			if err = question(b); err == nil {
				return nil
			}
			err = fmt.Errorf("broker %d: %w", b.id, err)
		}
		return err
	})
}

// each asks all brokers that should answer until every one is content.
func (c *Cluster) each(ctx context.Context, question func(*broker) error) error {
	return c.until(ctx, func() error {
		all, err := c.answering()
		if err != nil {
			return err
		}
		for _, b := range all {
			if err := question(b); err != nil {
				return fmt.Errorf("broker %d: %w", b.id, err)
			}
		}
		return nil
	})
}

// Leader is the node that leads a partition, as a broker that runs sees it. For some
// seconds after its end that may be one that is gone: until its session has expired. It
// waits as long as there is none.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int32) (node int32, err error) {
	err = c.any(ctx, func(b *broker) error {
		m, err := b.metadata(ctx, topic)
		if err != nil {
			return err
		}
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				if p.Partition == partition && p.Leader > 0 {
					node = p.Leader
					return nil
				}
			}
		}
		return fmt.Errorf("%s[%d] has no leader", topic, partition)
	})
	return node, err
}

// TxnCoordinator is the node that coordinates a transactional.id. It waits as long as
// there is none; as with Leader it may be one that is gone.
func (c *Cluster) TxnCoordinator(ctx context.Context, transactionalID string) (int32, error) {
	return c.coordinator(ctx, ofTransaction, transactionalID)
}

// GroupCoordinator is the same for a consumer group.
func (c *Cluster) GroupCoordinator(ctx context.Context, group string) (int32, error) {
	return c.coordinator(ctx, ofGroup, group)
}

func (c *Cluster) coordinator(ctx context.Context, kind int8, key string) (node int32, err error) {
	err = c.any(ctx, func(b *broker) error {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, key, []string{key}
		resp, err := b.ask(ctx, req)
		if err != nil {
			return err
		}
		for _, found := range resp.(*kmsg.FindCoordinatorResponse).Coordinators {
			node, err = found.NodeID, kerr.ErrorForCode(found.ErrorCode)
			return err
		}
		return errors.New("no answer about the coordinator")
	})
	return node, err
}
