package kafka

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
)

// ErrPartition is the error of a record whose partitioner failed, or returned a
// partition that its topic does not have.
var ErrPartition = errors.New("partition does not exist")

// partition chooses the partition of an output: by its partitioner if it has one,
// by the hash of its key, or, without a key, as Sticky says.
func (t *topic) partition(o *pipeline.Output) (int32, error) {
	p, err := choose(o.Partitioner, o.Topic, o.Key, o.Value, t.partitions)
	if p == pipeline.AnyPartition && err == nil {
		p = t.sticky.next(o.Key, o.Value, o.Headers, t.partitions)
	}
	return p, err
}

// choose asks a partitioner, nil for HashKey. The answer is AnyPartition, or one that
// exists.
func choose(by pipeline.Partitioner, topic string, key, value []byte, partitions int32) (p int32, err error) {
	if by == nil {
		if key == nil {
			return pipeline.AnyPartition, nil
		}
		return hashPartition(key, partitions), nil
	}
	defer recoveredPartitioner(topic, &err)
	if f, ok := by.(FalliblePartitioner); ok {
		if p, err = f.TryPartition(topic, key, value, partitions); err != nil {
			return 0, fmt.Errorf("%w: the partitioner of topic %q failed: %w", ErrPartition, topic, err)
		}
	} else {
		p = by.Partition(topic, key, value, partitions)
	}
	if p != pipeline.AnyPartition && (p < 0 || p >= partitions) {
		return 0, fmt.Errorf("%w: the partitioner chose %d of topic %q, which has %d", ErrPartition, p, topic, partitions)
	}
	return p, nil
}

func recoveredPartitioner(topic string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: the partitioner of topic %q failed: %w", ErrPartition, topic, &pipeline.PanicError{Value: v})
	}
}

// HashKey is the default partitioner: murmur2 of the key, as Java's producer
// computes it, so that topics written by both stay co-partitioned. Records
// without a key are spread as by Sticky.
var HashKey pipeline.Partitioner = pipeline.PartitionerFunc(func(_ string, key, _ []byte, partitions int32) int32 {
	if key == nil {
		return pipeline.AnyPartition
	}
	return hashPartition(key, partitions)
})

// hashPartition is BuiltInPartitioner.partitionForKey of Kafka's Java client.
func hashPartition(key []byte, partitions int32) int32 {
	return murmur2.Partition(key, partitions)
}
