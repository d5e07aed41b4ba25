package checktest

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Partition is what the cluster says of a partition.
type Partition struct {
	Leader           int32 // -1: none
	Replicas, InSync []int32
}

// Partitions returns the state of a topic's partitions, as the broker sees it
// that happens to answer.
func (c *Client) Partitions(topic string) []Partition {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("partitions of %q: %v", topic, err)
	}
	out := make([]Partition, len(resp.Topics[0].Partitions))
	for _, p := range resp.Topics[0].Partitions {
		out[p.Partition] = Partition{p.Leader, p.Replicas, p.ISR}
	}
	return out
}

// AwaitInSync waits until every partition of a topic has a leader and n replicas
// in sync.
func (c *Client) AwaitInSync(topic string, n int) {
	c.t.Helper()
	Await(c.t, fmt.Sprintf("%d replicas in sync of %s", n, topic), 2*patience, func() bool {
		for _, p := range c.Partitions(topic) {
			if p.Leader < 0 || len(p.InSync) != n {
				return false
			}
		}
		return true
	})
}

// Kinds of coordinators.
const (
	groups       = 0
	transactions = 1
)

// Coordinator returns the broker that coordinates a transactional id.
func (c *Client) Coordinator(transactionalID string) (node int32) {
	c.t.Helper()
	c.Await("the coordinator of "+transactionalID, func() bool {
		ctx, cancel := c.context()
		defer cancel()
		var err error
		node, err = c.coordinator(ctx, transactions, transactionalID)
		return err == nil
	})
	return node
}

// coordinator asks anew each time: the client itself would stay with one that is
// dead.
func (c *Client) coordinator(ctx context.Context, kind int8, key string) (int32, error) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = kind, []string{key}
	resp, err := req.RequestWith(ctx, c.k)
	switch {
	case err != nil:
		return 0, err
	case len(resp.Coordinators) != 1:
		return 0, errors.New("no answer")
	}
	return resp.Coordinators[0].NodeID, kerr.ErrorForCode(resp.Coordinators[0].ErrorCode)
}

// AwaitVisible waits until no open transaction hides anything of a topic.
func (c *Client) AwaitVisible(topic string) {
	c.t.Helper()
	Await(c.t, "the end of the transactions on "+topic, 3*patience, func() bool { return c.hanging(topic) == 0 })
}

// AddPartitions makes a topic have so many partitions in all.
func (c *Client) AddPartitions(topic string, total int32) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, total
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("add partitions to %q: %v", topic, err)
	}
	c.Await("the leaders of "+topic, func() bool { return c.hasLeaders(ctx, topic, total) })
}

// DeleteTopic deletes a topic.
func (c *Client) DeleteTopic(topic string) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &topic
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.Topics = []string{topic}, append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("delete %q: %v", topic, err)
	}
}
