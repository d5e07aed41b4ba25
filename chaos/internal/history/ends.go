package history

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Unknown stands for an offset that could not be found out, or that there is not.
const Unknown = -1

// Ends are offsets by output topic and partition.
type Ends [workload.NumOutputs][]int64

func (e *Ends) reach(topic int, partition int32, offset int64) {
	e[topic] = grown(e[topic], partition, 0)
	e[topic][partition] = max(e[topic][partition], offset)
}

// before names a partition that is not at its end, or returns "".
func (e *Ends) before(ends Ends) string {
	for topic := range ends {
		for p, end := range ends[topic] {
			at := int64(0)
			if p < len(e[topic]) {
				at = e[topic][p]
			}
			if at < end {
				return fmt.Sprintf("output %d[%d]@%d to %d", topic, p, at, end)
			}
		}
	}
	return ""
}

// At returns an offset, [Unknown] if there is none.
func (e *Ends) At(topic, partition int) int64 {
	if partition >= len(e[topic]) {
		return Unknown
	}
	return e[topic][partition]
}

func grown(s []int64, partition int32, with int64) []int64 {
	for int(partition) >= len(s) {
		s = append(s, with)
	}
	return s
}

// outputEnds lists the high watermarks of the outputs, or with stable the last
// stable offsets: where what a reader of committed records can get to ends.
func outputEnds(ctx context.Context, admin *kadm.Client, topics workload.Topics, stable bool) (e Ends, err error) {
	list := admin.ListEndOffsets
	if stable {
		list = admin.ListCommittedOffsets
	}
	listed, err := list(ctx, topics.Outputs[:]...)
	if err != nil {
		return e, fmt.Errorf("list the ends of the outputs: %w", err)
	}
	for i, name := range topics.Outputs {
		e[i] = partitions(listed, name)
	}
	return e, nil
}

func partitions(listed kadm.ListedOffsets, topic string) (offsets []int64) {
	for p, o := range listed[topic] {
		offsets = grown(offsets, p, Unknown)
		if o.Err == nil {
			offsets[p] = o.Offset
		}
	}
	return offsets
}
