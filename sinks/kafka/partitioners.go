package kafka

import (
	"sync/atomic"

	"github.com/leat-stream/leat/pipeline"
)

// FalliblePartitioner is a [pipeline.Partitioner] that can fail, which is the record's
// error [ErrPartition]. TryPartition is then called instead of Partition.
type FalliblePartitioner interface {
	pipeline.Partitioner
	TryPartition(topic string, key, value []byte, partitions int32) (int32, error)
}

// PartitionFunc is a function as a [FalliblePartitioner]. It sees the serialized key
// and value, which it must not keep or change, and is called from many goroutines.
// [pipeline.AnyPartition] leaves the choice to the producer.
type PartitionFunc func(topic string, key, value []byte, partitions int32) (int32, error)

// TryPartition calls f.
func (f PartitionFunc) TryPartition(topic string, key, value []byte, partitions int32) (int32, error) {
	return f(topic, key, value, partitions)
}

// Partition calls f; after an error it returns a partition that cannot exist.
func (f PartitionFunc) Partition(topic string, key, value []byte, partitions int32) int32 {
	p, err := f(topic, key, value, partitions)
	if err != nil {
		return -2
	}
	return p
}

// ToPartition sends to partition n, whatever the key. If the topic does not have it,
// that is the record's error [ErrPartition].
func ToPartition(n int32) pipeline.Partitioner { return fixedPartition(n) }

type fixedPartition int32

func (f fixedPartition) Partition(string, []byte, []byte, int32) int32 {
	if f < 0 {
		return -2 // not any
	}
	return int32(f)
}

// Sticky ignores keys and fills one partition's batch before it goes on to the next
// partition's: after BatchSize bytes of records, so that in the long run each
// partition gets as many bytes, as Kafka's own sticky partitioner does (KIP-794).
// Records without a key are partitioned in this way unless a partitioner decides
// otherwise.
var Sticky pipeline.Partitioner = pipeline.PartitionerFunc(func(string, []byte, []byte, int32) int32 { return pipeline.AnyPartition })

// EachInTurn ignores keys and sends each record to the partition after the last one's.
// It makes small batches, one for each partition at a time; [Sticky] spreads as evenly
// and costs less. Kafka: RoundRobinPartitioner. Use one for each topic, or topics take
// turns together.
func EachInTurn() pipeline.Partitioner { return new(eachInTurn) }

type eachInTurn struct{ next atomic.Uint32 }

func (t *eachInTurn) Partition(_ string, _, _ []byte, partitions int32) int32 {
	return int32((t.next.Add(1) - 1) % uint32(partitions))
}

// producerTopic is what a Producer knows of a topic.
type producerTopic struct {
	filled atomic.Uint64 // bytes of records without a partition of their own
	plain  []*plain      // one for each partition
}

// sticky returns the partition for a record of so many bytes.
func (t *producerTopic) sticky(size, batchSize int, partitions int32) int32 {
	before := t.filled.Add(uint64(size)) - uint64(size)
	return int32(before / uint64(batchSize) % uint64(partitions))
}
