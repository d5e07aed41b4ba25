package cluster

import (
	"context"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// A look at a partition's end fetches at most so often so many bytes.
const (
	tailFetches = 4
	tailBytes   = 1 << 20
)

// Tail calls f with the key of each of about the last n committed records of a
// partition that have one. Of a log with large records or gaps it looks at fewer. The
// key is valid during the call.
func (c *Client) Tail(ctx context.Context, part pipeline.Partition, n int64, f func(key []byte)) error {
	end, err := c.Offset(ctx, part, Latest)
	if err != nil {
		return err
	}
	begin, err := c.Offset(ctx, part, Earliest)
	if err != nil {
		return err
	}
	at := max(begin, end-n)
	for range tailFetches {
		if at >= end {
			break
		}
		block, err := atLeader(ctx, c, part, func(b *sarama.Broker) (*sarama.FetchResponseBlock, error) {
			return fetch(b, part, at, tailBytes)
		})
		if err != nil {
			return err
		}
		batches, next := Committed(block)
		for _, batch := range batches {
			for _, r := range batch.Records {
				if o := batch.FirstOffset + r.OffsetDelta; r.Key != nil && o >= at && o < end {
					f(r.Key)
				}
			}
		}
		if next <= at { // emptied by compaction, or a batch that is larger than a fetch
			break
		}
		at = next
	}
	return nil
}
