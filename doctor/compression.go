package doctor

import "github.com/leat-stream/leat/sinks/kafka"

// compression compares the topic's compression.type with the producer's.
func (e *exam) compression(topic string) {
	has, ok := e.setting(CheckCompression, topic, "compression.type")
	if !ok {
		return
	}
	ours := e.producer.Compression.String()
	if e.producer.Compression == kafka.NoCompression {
		ours = "uncompressed" // as a topic has it
	}
	if has == "producer" || has == ours {
		e.ok(CheckCompression, topic, "compression.type=%s takes batches as they come", has)
		return
	}
	e.find(CheckCompression, topic, Warning, e.setTopic(topic, "compression.type=producer")+", or set the producer's Compression to the topic's",
		"compression.type=%s, but the producer sends %s: the broker compresses every batch again", has, e.producer.Compression)
}
