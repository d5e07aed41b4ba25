package pipeline

import (
	"cmp"
	"fmt"
)

// Partition names one partition of a topic.
type Partition struct {
	Topic     string
	Partition int32
}

// String returns topic[partition].
func (p Partition) String() string { return fmt.Sprintf("%s[%d]", p.Topic, p.Partition) }

// Compare orders partitions by topic, then by number.
func (p Partition) Compare(q Partition) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition))
}

// Origin is the place of an input record. A replayed record has the same origin,
// so it is the idempotency key for side effects outside Kafka; a stage with
// several effects for one record adds an index of its own. Of a record that is retried
// later it is the place in the retry topic: [RetryOf] has the first one.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns topic[partition]@offset.
func (o Origin) String() string { return fmt.Sprintf("%s[%d]@%d", o.Topic, o.Partition, o.Offset) }

// Offset is a position in a partition: the offset of the next record to read,
// as Kafka commits it.
type Offset struct {
	Partition
	// Next is the offset of the next record to read.
	Next int64
}
