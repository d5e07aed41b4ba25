package cluster

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Read returns a topic's records, one partition after another, as a reader with
// isolation.level=read_committed sees them: up to its end as of now, and at least n. It
// uses another client than the example, so that the output says what is there.
func (c *Cluster) Read(ctx context.Context, topic string, n int) ([]*kgo.Record, error) {
	return c.read(ctx, topic, n, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
}

// ReadUncommitted is Read with isolation.level=read_uncommitted: with the records of
// transactions that were aborted or are open.
func (c *Cluster) ReadUncommitted(ctx context.Context, topic string, n int) ([]*kgo.Record, error) {
	return c.read(ctx, topic, n, kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
}

// Size returns what the records of a topic take, in bytes: before compression, and in the
// requests and the log. The fixed 61 bytes of each batch are not in it.
func (c *Cluster) Size(ctx context.Context, topic string) (plain, stored int, err error) {
	var s sizes
	_, err = c.read(ctx, topic, 0, kgo.WithHooks(&s))
	return s.plain, s.stored, err
}

type sizes struct{ plain, stored int }

func (s *sizes) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, b kgo.FetchBatchMetrics) {
	s.plain += b.UncompressedBytes
	s.stored += b.CompressedBytes
}

func (c *Cluster) read(ctx context.Context, topic string, n int, opts ...kgo.Opt) (records []*kgo.Record, err error) {
	opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords()) // or the end of a transaction is never seen
	err = c.withClient(func(k *kgo.Client) error {
		left, err := ends(ctx, k, topic)
		for err == nil && (len(left) > 0 || len(records) < n) {
			fetches := k.PollFetches(ctx)
			err = fetches.Err()
			fetches.EachRecord(func(r *kgo.Record) {
				if !r.Attrs.IsControl() {
					records = append(records, r)
				}
				if r.Offset+1 >= left[r.Partition] {
					delete(left, r.Partition)
				}
			})
		}
		return err
	}, opts...)
	slices.SortFunc(records, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return records, err
}

// ends returns the ends of the partitions that are not empty.
func ends(ctx context.Context, k *kgo.Client, topic string) (map[int32]int64, error) {
	metadata := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	metadata.Topics = append(metadata.Topics, mt)
	known, err := metadata.RequestWith(ctx, k)
	if err != nil {
		return nil, err
	}
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for _, p := range known.Topics[0].Partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.Partition, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.Topics = -1, append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, k)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			if p.Offset > 0 {
				out[p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}
