package cluster

import (
	"context"
	"encoding/hex"

	"github.com/IBM/sarama"
)

// TopicIDs returns the ids of topics, by which one is told from another that had its name
// before. A broker older than 2.8 has none: then they are "".
func (c *Client) TopicIDs(ctx context.Context, topics []string) (map[string]string, error) {
	ids := make(map[string]string, len(topics))
	answers := make(chan *sarama.MetadataResponse, 1)
	err := c.any(ctx, func(b *sarama.Broker) error {
		resp, err := b.GetMetadata(&sarama.MetadataRequest{Version: 10, Topics: topics})
		if err == nil {
			select {
			case answers <- resp:
			default: // another was faster
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, t := range (<-answers).Topics {
		if t.Uuid != (sarama.Uuid{}) {
			ids[t.Name] = hex.EncodeToString(t.Uuid[:])
		}
	}
	return ids, nil
}
