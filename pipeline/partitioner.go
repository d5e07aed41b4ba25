package pipeline

// Partitioner chooses the partition of an output. It sees the serialized key, as
// in Kafka: serialization happens before partitioning.
//
// One Partitioner serves every task at once and is called for each output, so it
// must be safe for concurrent use and cheap. The default hashes the key with
// murmur2 as Java's producer does and spreads records without a key.
type Partitioner interface {
	// Partition returns a partition from 0 to partitions-1, or [AnyPartition]
	// to leave the choice to the sink. A number outside is the record's error.
	Partition(topic string, key, value []byte, partitions int32) int32
}

// AnyPartition leaves the choice of the partition to the sink: it spreads such
// records evenly, a batch at a time.
const AnyPartition int32 = -1

// PartitionerFunc is a function as a [Partitioner].
type PartitionerFunc func(topic string, key, value []byte, partitions int32) int32

// Partition calls f.
func (f PartitionerFunc) Partition(topic string, key, value []byte, partitions int32) int32 {
	return f(topic, key, value, partitions)
}
