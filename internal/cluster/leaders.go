package cluster

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// Leader is who leads a partition.
type Leader struct {
	Addr  string
	Epoch int32 // -1 if the broker is too old to say
}

// Leaders returns the leaders of the topics' partitions, as whichever broker answers
// first knows them. Partitions without one are left out.
func (c *Client) Leaders(ctx context.Context, topics []string) (map[pipeline.Partition]Leader, error) {
	resp, err := c.metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	addrs := map[int32]string{}
	for _, b := range resp.Brokers {
		addrs[b.ID()] = b.Addr()
	}
	out := map[pipeline.Partition]Leader{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if addr, ok := addrs[p.Leader]; ok {
				out[pipeline.Partition{Topic: t.Name, Partition: p.ID}] = Leader{addr, p.LeaderEpoch}
			}
		}
	}
	return out, nil
}
