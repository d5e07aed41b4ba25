package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

// FindGroup finds the group's coordinator, which needs the right to see the group. It
// tries once.
func (c *Client) FindGroup(ctx context.Context, group string) error {
	addr, err := c.findCoordinator(ctx, group)
	if err != nil {
		return err
	}
	c.at.coordinates(group, addr)
	return nil
}

// Committed returns the group's committed position in each partition, without
// those of transactions that are still open; partitions without one are left out.
func (c *Client) Committed(ctx context.Context, group string, parts []pipeline.Partition) (map[pipeline.Partition]int64, error) {
	return atCoordinator(ctx, c, group, func(b *sarama.Broker) (map[pipeline.Partition]int64, error) {
		req := &sarama.OffsetFetchRequest{Version: 7, ConsumerGroup: group, RequireStable: true}
		for _, p := range parts {
			req.AddPartition(p.Topic, p.Partition)
		}
		resp, err := b.FetchOffset(req)
		if err != nil {
			return nil, err
		}
		out := map[pipeline.Partition]int64{}
		if resp.Err == sarama.ErrGroupIDNotFound { // nobody has joined or committed yet
			return out, nil
		}
		if resp.Err != sarama.ErrNoError {
			return nil, secure.Denied(resp.Err, secure.Read, secure.Group, group)
		}
		for _, p := range parts {
			block := resp.GetBlock(p.Topic, p.Partition)
			switch {
			case block == nil:
				return nil, errNoAnswer
			case block.Err != sarama.ErrNoError:
				return nil, secure.Denied(block.Err, secure.Read, secure.Topic, p.Topic)
			case block.Offset >= 0:
				out[p] = block.Offset
			}
		}
		return out, nil
	})
}

// Commit commits positions outside a transaction. With a generation below zero
// it does so on behalf of no member, which the broker allows only while the group
// has none.
func (c *Client) Commit(ctx context.Context, group pipeline.GroupMetadata, offsets []pipeline.Offset) error {
	_, err := atCoordinator(ctx, c, group.Group, func(b *sarama.Broker) (none struct{}, err error) {
		req := &sarama.OffsetCommitRequest{
			Version: 7, ConsumerGroup: group.Group, ConsumerGroupGeneration: group.Generation, ConsumerID: group.Member,
		}
		if group.Instance != "" {
			req.GroupInstanceId = &group.Instance
		}
		for _, o := range offsets {
			req.AddBlockWithLeaderEpoch(o.Topic, o.Partition.Partition, o.Next, -1, 0, "")
		}
		resp, err := b.CommitOffset(req)
		if err != nil {
			return none, err
		}
		for topic, parts := range resp.Errors {
			for p, kerr := range parts {
				if kerr != sarama.ErrNoError {
					return none, fmt.Errorf("%s[%d]: %w", topic, p, denied(kerr, group.Group, topic))
				}
			}
		}
		return none, nil
	})
	return err
}

// denied says which right a commit lacks.
func denied(err error, group, topic string) error {
	if errors.Is(err, sarama.ErrTopicAuthorizationFailed) {
		return secure.Denied(err, secure.Read, secure.Topic, topic)
	}
	return secure.Denied(err, secure.Read, secure.Group, group)
}

// Leave removes a member from the group: a static one by its instance name.
func (c *Client) Leave(ctx context.Context, group pipeline.GroupMetadata) error {
	_, err := atCoordinator(ctx, c, group.Group, func(b *sarama.Broker) (none struct{}, err error) {
		member := sarama.MemberIdentity{MemberId: group.Member}
		if group.Instance != "" {
			member = sarama.MemberIdentity{GroupInstanceId: &group.Instance}
		}
		resp, err := b.LeaveGroup(&sarama.LeaveGroupRequest{Version: 3, GroupId: group.Group, Members: []sarama.MemberIdentity{member}})
		if err != nil {
			return none, err
		}
		if resp.Err != sarama.ErrNoError {
			return none, denied(resp.Err, group.Group, "")
		}
		return none, nil
	})
	return err
}

// Owned returns the partitions that the members of a group own. It is false if the
// group is in the midst of a rebalance, or has no members.
func (c *Client) Owned(ctx context.Context, group string) (owned map[pipeline.Partition]bool, stable bool, err error) {
	desc, err := atCoordinator(ctx, c, group, func(b *sarama.Broker) (*sarama.GroupDescription, error) {
		resp, err := b.DescribeGroups(&sarama.DescribeGroupsRequest{Version: 4, Groups: []string{group}})
		switch {
		case err != nil:
			return nil, err
		case len(resp.Groups) != 1:
			return nil, errNoAnswer
		case resp.Groups[0].Err != sarama.ErrNoError:
			return nil, denied(resp.Groups[0].Err, group, "")
		}
		return resp.Groups[0], nil
	})
	if err != nil {
		return nil, false, err
	}
	owned = map[pipeline.Partition]bool{}
	for id, m := range desc.Members {
		a, err := m.GetMemberAssignment()
		if err != nil {
			return nil, false, fmt.Errorf("group %q: assignment of member %q: %w", group, id, err)
		}
		if a == nil {
			continue
		}
		for topic, parts := range a.Topics {
			for _, p := range parts {
				owned[pipeline.Partition{Topic: topic, Partition: p}] = true
			}
		}
	}
	return owned, desc.State == "Stable", nil
}
