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

// End returns where a partition ends, its high watermark, for a reader that must not miss what
// was written before. All brokers are asked, and the highest answer counts: one that is cut
// off from the others goes on believing that it leads, may be believed by whoever asks it
// first, and tells where the partition ended then. Brokers that do not answer in half a second
// are left out.
func (c *Client) End(ctx context.Context, part pipeline.Partition) (int64, error) {
	highest, err := c.OffsetFor(ctx, part, Latest, sarama.ReadUncommitted)
	if err != nil {
		return 0, err
	}
	soon, cancel := context.WithTimeout(ctx, elsewhere)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, addr := range c.Nodes() {
		asking.Go(func() {
			end, err := ask(soon, c, addr, func(b *sarama.Broker) (int64, error) { return offsetAt(b, part, Latest, sarama.ReadUncommitted) })
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			highest = max(highest, end)
		})
	}
	asking.Wait()
	return highest, nil
}
