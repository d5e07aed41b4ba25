package kafka

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/leat-stream/leat/internal/cluster"
)

// topicCodec is the topic's compression.type that takes the codec's batches as they come.
func (c Compression) topicCodec() string {
	if c == NoCompression {
		return "uncompressed"
	}
	return c.String()
}

// warnOfRecompression logs the topics whose compression.type makes the broker compress
// every batch again. What cannot be seen, for want of DescribeConfigs, is no warning.
func warnOfRecompression(ctx context.Context, client *cluster.Client, topics []string, codec Compression, log *slog.Logger) {
	settings, err := client.TopicSettings(ctx, topics)
	if err != nil {
		log.Debug("the topics' compression.type cannot be seen", "error", err)
		return
	}
	for _, topic := range topics {
		s := settings[topic]
		if s.Err != nil {
			log.Debug("the topic's compression.type cannot be seen; it takes DescribeConfigs on the topic", "topic", topic, "error", s.Err)
			continue
		}
		if has := s.Values["compression.type"]; has != "" && has != "producer" && has != codec.topicCodec() {
			log.Warn("the broker compresses every batch of the topic again", "topic", topic, "compression.type", has, "producer", codec.String(),
				"change", fmt.Sprintf("set the topic's compression.type=producer, or Compression to %s", has))
		}
	}
}
