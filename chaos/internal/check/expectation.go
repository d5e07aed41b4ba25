package check

import (
	"fmt"
	"iter"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Expectation is what must come of an input: about 60 bytes for each record of it.
type Expectation struct {
	counting   bool
	partitions []expectedPartition
	kinds      map[workload.Kind]int64
	outputs    int64
}

type expectedPartition struct {
	inputs  []expectedInput // by offset
	outputs []expected
	counts  workload.Counts
}

type expectedInput struct {
	first uint32 // of its outputs
	n     uint8
	there bool // else the offset has no record
}

type expected struct {
	key, value uint64
	topic      uint8
	index      uint8
}

// NewExpectation returns one of no input. counting says that workers count.
func NewExpectation(counting bool) *Expectation {
	return &Expectation{counting: counting, kinds: map[workload.Kind]int64{}}
}

// Add asks the model for what must come of an input. Inputs of a partition are added
// in their order.
func (x *Expectation) Add(partition int32, offset int64, key, value []byte) {
	for int(partition) >= len(x.partitions) {
		x.partitions = append(x.partitions, expectedPartition{counts: workload.Counts{}})
	}
	p := &x.partitions[partition]
	for int64(len(p.inputs)) < offset {
		p.inputs = append(p.inputs, expectedInput{})
	}
	x.kinds[workload.KindOf(value)]++
	in := expectedInput{first: uint32(len(p.outputs)), there: true}
	hash := history.Hash(key)
	var count uint64
	if x.counting {
		count = p.counts.Next(key, value)
	}
	workload.Model(value, count, func(out workload.Expected) {
		in.n++
		x.outputs++
		p.outputs = append(p.outputs, expected{key: hash, value: history.Hash(out.Value), topic: uint8(out.Topic), index: uint8(out.Index)})
	})
	p.inputs = append(p.inputs, in)
}

// Inputs is the number of inputs.
func (x *Expectation) Inputs() (n int64) {
	for _, k := range x.kinds {
		n += k
	}
	return n
}

// Outputs is the number of outputs, dead letters among them.
func (x *Expectation) Outputs() int64 { return x.outputs }

// Kind is the number of inputs of a kind.
func (x *Expectation) Kind(k workload.Kind) int64 { return x.kinds[k] }

// Ends are the offsets after the last inputs, by partition.
func (x *Expectation) Ends() []int64 {
	ends := make([]int64, len(x.partitions))
	for p := range ends {
		ends[p] = x.end(int32(p))
	}
	return ends
}

// of finds the outputs of an input, as a range of its partition's.
func (x *Expectation) of(partition int32, offset int64) (from, to int, ok bool) {
	if partition < 0 || int(partition) >= len(x.partitions) || offset < 0 || offset >= int64(len(x.partitions[partition].inputs)) {
		return 0, 0, false
	}
	in := x.partitions[partition].inputs[offset]
	return int(in.first), int(in.first) + int(in.n), in.there
}

// passedBy reports whether a unit need not know of an offset: no record is there, or
// only a dead letter comes of it, which the engine may write without running the
// chain.
func (x *Expectation) passedBy(partition int32, offset int64) bool {
	from, to, ok := x.of(partition, offset)
	if !ok {
		return offset < x.end(partition)
	}
	return to == from+1 && x.partitions[partition].outputs[from].topic == workload.DeadLetters
}

// end is the offset after a partition's last input.
func (x *Expectation) end(partition int32) int64 {
	if int(partition) >= len(x.partitions) {
		return 0
	}
	return int64(len(x.partitions[partition].inputs))
}

// place is where an output stood, for texts.
func place(topic, partition int, r *history.Record) string {
	return fmt.Sprintf("%s[%d]@%d, output %d of input [%d]@%d", topicName(topic), partition, r.Offset, r.Index, r.Partition, r.Source)
}

func topicName(topic int) string {
	return [...]string{workload.Left: "left", workload.Right: "right", workload.DeadLetters: "dead letters", workload.Manifests: "manifests"}[topic]
}

// outputs yields all records of a log that come from an input, in the order of their
// partitions.
func outputs(log *history.Log) iter.Seq2[at, *history.Record] {
	return func(yield func(at, *history.Record) bool) {
		for topic := range workload.Manifests {
			for p, records := range log.Records[topic] {
				for i := range records {
					if records[i].Partition >= 0 && !yield(at{topic, p}, &records[i]) { // else it is a bad one
						return
					}
				}
			}
		}
	}
}

// at is a partition of an output.
type at struct{ topic, partition int }
