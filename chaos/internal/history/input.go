package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadInput calls f for each record of a topic, in the order of its partition, up to
// where the topic ends now, and returns these ends. What f is given is f's.
func ReadInput(ctx context.Context, brokers []string, topic string, f func(*kgo.Record)) ([]int64, error) {
	client, err := kgo.NewClient(append(growing(),
		kgo.SeedBrokers(brokers...), kgo.ClientID("chaos-input"), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(8<<20), kgo.MaxConcurrentFetches(3),
	)...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	ends := partitions(listed, topic)
	at := make([]int64, len(ends))
	for behind(at, ends) {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s up to %v of %v: %w", topic, at, ends, errors.Join(context.Cause(ctx), fetches.Err()))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if int(r.Partition) >= len(ends) || r.Offset >= ends[r.Partition] {
				return
			}
			at[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				f(r)
			}
		})
	}
	return ends, nil
}

func behind(at, ends []int64) bool {
	for p := range ends {
		if at[p] < ends[p] {
			return true
		}
	}
	return false
}
