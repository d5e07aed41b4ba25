package cluster

import (
	"context"
	"encoding/hex"

	"github.com/IBM/sarama"
)

// TopicIDs returns the ids of topics, by which one is told from another that had its name
// before. A broker older than 2.8 has none: then they are "".
func (c *Client) TopicIDs(ctx context.Context, topics []string) (map[string]string, error) {
	resp, err := c.metadataOf(ctx, 10, topics)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(topics))
	for _, t := range resp.Topics {
		if t.Uuid != (sarama.Uuid{}) {
			ids[t.Name] = hex.EncodeToString(t.Uuid[:])
		}
	}
	return ids, nil
}
