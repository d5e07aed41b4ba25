package kafka

import (
	"math/rand/v2"
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
// partition gets as many bytes, as Kafka's own sticky partitioner does (KIP-794). Each
// producer, and each run of a pipeline, begins with any partition.
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

// sticky chooses the partitions of a topic's records without a key. It begins anywhere,
// or the first partition would get most of what many short-lived producers send.
type sticky struct {
	filled    atomic.Uint64 // bytes, as if from the first partition on
	batchSize uint64
}

func newSticky(batchSize int) *sticky {
	s := &sticky{batchSize: uint64(batchSize)}
	s.filled.Store(uint64(rand.Uint32()) * s.batchSize)
	return s
}

// next returns the partition of a record.
func (s *sticky) next(key, value []byte, headers pipeline.Headers, partitions int32) int32 {
	size := recordOverhead + len(key) + len(value)
	for i := range headers {
		size += headerOverhead + len(headers[i].Key) + len(headers[i].Value)
	}
	before := s.filled.Add(uint64(size)) - uint64(size)
	return int32(before / s.batchSize % uint64(partitions))
}

// What a record and a header take in a batch beside keys and values, about.
const (
	recordOverhead = 9
	headerOverhead = 2
)

// producerTopic is what a Producer knows of a topic.
type producerTopic struct {
	sticky *sticky
	plain  []*plain // one for each partition
}
