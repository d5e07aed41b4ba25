package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// elsewhere bounds what brokers are given that do not lead a partition, as far as is known.
const elsewhere = 500 * time.Millisecond

// End is WrittenEnds of one partition.
func (c *Client) End(ctx context.Context, part pipeline.Partition) (int64, error) {
	end, err := c.OffsetFor(ctx, part, Latest, sarama.ReadUncommitted)
	if err != nil {
		return 0, err
	}
	ends := map[pipeline.Partition]int64{part: end}
	c.raise(ctx, ends)
	return ends[part], nil
}

// WrittenEnds returns where the partitions of topics end, their high watermarks, for a reader that
// must not miss what was written before; what open transactions have written counts. All
// brokers are asked, and the highest answer counts: one that is cut off from the others goes on
// believing that it leads, may be believed by whoever asks it first, and tells where the
// partition ended then. Brokers that do not answer in half a second are left out.
func (c *Client) WrittenEnds(ctx context.Context, topics []string) (map[pipeline.Partition]int64, error) {
	ends, err := c.offsets(ctx, topics, Latest, sarama.ReadUncommitted)
	if err == nil {
		c.raise(ctx, ends)
	}
	return ends, err
}

// raise asks every broker for all of the partitions, in one request each.
func (c *Client) raise(ctx context.Context, ends map[pipeline.Partition]int64) {
	ctx, cancel := context.WithTimeout(ctx, elsewhere)
	defer cancel()
	answers := make(chan *sarama.OffsetResponse)
	var asking sync.WaitGroup
	for _, addr := range c.Nodes() {
		req := &sarama.OffsetRequest{Version: 4, IsolationLevel: sarama.ReadUncommitted}
		for part := range ends {
			req.AddBlock(part.Topic, part.Partition, Latest, 1)
		}
		asking.Go(func() {
			resp, err := ask(ctx, c, addr, func(b *sarama.Broker) (*sarama.OffsetResponse, error) { return b.GetAvailableOffsets(req) })
			if err == nil {
				answers <- resp
			}
		})
	}
	go func() {
		asking.Wait()
		close(answers)
	}()
	for resp := range answers {
		for part, end := range ends {
			if b := resp.GetBlock(part.Topic, part.Partition); b != nil && b.Err == sarama.ErrNoError {
				ends[part] = max(end, b.Offset)
			}
		}
	}
}
