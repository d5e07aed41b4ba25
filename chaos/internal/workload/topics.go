package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Create creates the topics, with the number of partitions of the input and of each
// output, and returns when all partitions have a leader. replication is -1 for the
// brokers' default.
func (t Topics) Create(ctx context.Context, client *kgo.Client, input, outputs int32, replication int16) error {
	admin := kadm.NewClient(client)
	limit, compact := strconv.Itoa(RightMaxMessageBytes), "compact"
	for _, topic := range t.All() {
		partitions, settings := outputs, map[string]*string{}
		switch topic {
		case t.Input:
			partitions = input
		case t.Outputs[Right]:
			settings["max.message.bytes"] = &limit
		case t.Counts: // the input may grow
			partitions, settings["cleanup.policy"] = input+CountsRoom, &compact
		}
		if _, err := admin.CreateTopic(ctx, partitions, replication, settings, topic); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	for {
		ends, err := admin.ListEndOffsets(ctx, t.All()...)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the topics have no leaders: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// Delete deletes the topics. One that is gone already is no error.
func (t Topics) Delete(ctx context.Context, client *kgo.Client) error {
	deleted, err := kadm.NewClient(client).DeleteTopics(ctx, t.All()...)
	for _, d := range deleted {
		if !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			err = errors.Join(err, d.Err)
		}
	}
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	return nil
}
