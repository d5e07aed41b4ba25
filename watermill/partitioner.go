package watermill

import (
	"hash/fnv"

	"github.com/leat-stream/leat/pipeline"
)

// SaramaHash chooses partitions by key as watermill-kafka does, with sarama's default
// partitioner, and not as Kafka's Java clients and Leat do. Use it while both write to a
// topic, so that messages with the same key stay in one partition.
var SaramaHash pipeline.Partitioner = pipeline.PartitionerFunc(saramaHash)

func saramaHash(_ string, key, _ []byte, partitions int32) int32 {
	if key == nil {
		return pipeline.AnyPartition
	}
	h := fnv.New32a()
	_, _ = h.Write(key) // cannot fail
	p := int32(h.Sum32()) % partitions
	if p < 0 {
		p = -p
	}
	return p
}
