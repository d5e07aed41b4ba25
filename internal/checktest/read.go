package checktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Read returns all committed records of a topic, by partition.
func (c *Client) Read(topic string) map[int32][]*kgo.Record {
	c.t.Helper()
	out := map[int32][]*kgo.Record{}
	if err := c.each(topic, func(r *kgo.Record) { out[r.Partition] = append(out[r.Partition], r) }); err != nil {
		c.t.Fatalf("read %q: %v", topic, err)
	}
	return out
}

// ReadAll returns all committed records of a topic, one partition after another.
func (c *Client) ReadAll(topic string) []*kgo.Record {
	c.t.Helper()
	var out []*kgo.Record
	byPart := c.Read(topic)
	for p := range int32(len(c.Ends(topic, true))) {
		out = append(out, byPart[p]...)
	}
	return out
}

// each calls f for every committed record up to the ends as of now. The ends are
// reached also where they are control records.
func (c *Client) each(topic string, f func(*kgo.Record)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ends, err := c.listOffsets(ctx, topic, -1, true)
	if err != nil {
		return err
	}
	starts, err := c.listOffsets(ctx, topic, -2, true)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if starts[p] < end {
			from[p] = kgo.NewOffset().At(starts[p])
		}
	}
	if len(from) == 0 {
		return nil
	}
	k := c.open(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(4<<20), kgo.FetchMaxWait(100*time.Millisecond),
	)
	defer k.Close()
	for len(from) > 0 {
		fetches := k.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("%d of %d partitions not read to their end: %w", len(from), len(ends), err)
		}
		var failed error
		fetches.EachError(func(_ string, p int32, err error) {
			failed = errors.Join(failed, fmt.Errorf("partition %d: %w", p, err))
		})
		if failed != nil {
			return failed
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= ends[r.Partition] {
				delete(from, r.Partition)
			}
			if r.Offset < ends[r.Partition] && !r.Attrs.IsControl() {
				f(r)
			}
		})
	}
	return nil
}
