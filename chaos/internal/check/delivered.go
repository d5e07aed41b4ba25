package check

import (
	"math"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// CheckDelivered compares what is there with what the model expects.
func CheckDelivered(x *Expectation, log *history.Log) []Violation {
	f := findings{of: Delivered}
	for _, text := range log.Bad {
		f.add("not what a worker writes: %s", text)
	}
	f.n += log.NumBad - len(log.Bad)
	seen := make([][]uint8, len(x.partitions))
	for p := range seen {
		seen[p] = make([]uint8, len(x.partitions[p].outputs))
	}
	for where, r := range outputs(log) {
		i := x.find(where.topic, r)
		if i < 0 {
			f.add("unexpected: %s", place(where.topic, where.partition, r))
			continue
		}
		want := x.partitions[r.Partition].outputs[i]
		if want.key != r.Key || want.value != r.Value {
			f.add("changed: %s", place(where.topic, where.partition, r))
		}
		if n := &seen[r.Partition][i]; *n < math.MaxUint8 {
			*n++
		}
		if seen[r.Partition][i] > 1 {
			f.add("doubled: %s", place(where.topic, where.partition, r))
		}
	}
	for p := range x.partitions {
		for offset := range x.partitions[p].inputs {
			from, to, _ := x.of(int32(p), int64(offset))
			for i := from; i < to; i++ {
				if seen[p][i] == 0 {
					want := x.partitions[p].outputs[i]
					f.add("lost: output %d of input [%d]@%d in %s", want.index, p, offset, topicName(int(want.topic)))
				}
			}
		}
	}
	return f.all()
}

// find returns the number of an output among those expected of its input's partition,
// or -1.
func (x *Expectation) find(topic int, r *history.Record) int {
	from, to, _ := x.of(r.Partition, r.Source)
	for i := from; i < to; i++ {
		if want := &x.partitions[r.Partition].outputs[i]; int(want.topic) == topic && int32(want.index) == r.Index {
			return i
		}
	}
	return -1
}
