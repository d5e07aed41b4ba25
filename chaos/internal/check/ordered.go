package check

import (
	"slices"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Growths are the numbers of partitions that each output topic has had, the first one
// included. None is for a topic that never grew.
type Growths [workload.NumOutputs][]int32

// homes is how many partitions a key of a topic may have been in: a new number of
// partitions may give it a new one.
func (g Growths) homes(topic int) int { return max(1, len(g[topic])) }

// CheckOrdered sees that in each partition of an output, what comes from one partition
// of the input is in the input's order, and that a key stays in one partition, unless
// the topic grew: together that is the order of each key. Doubles of the record before
// are the business of [CheckDelivered].
func CheckOrdered(log *history.Log, growths Growths) []Violation {
	f := findings{of: Ordered}
	type stream struct {
		at
		source int32
	}
	type key struct {
		topic int
		hash  uint64
	}
	last := map[stream]*history.Record{}
	home := map[key]int{}
	moved := map[key][]int{} // further homes
	for where, r := range outputs(log) {
		s := stream{where, r.Partition}
		if before := last[s]; before != nil && (r.Source < before.Source || r.Source == before.Source && r.Index < before.Index) {
			f.add("%s comes after output %d of offset %d", place(where.topic, where.partition, r), before.Index, before.Source)
		}
		last[s] = r
		k := key{where.topic, r.Key}
		p, known := home[k]
		switch {
		case !known:
			home[k] = where.partition
		case p == where.partition || slices.Contains(moved[k], where.partition):
		case 1+len(moved[k]) < growths.homes(where.topic):
			moved[k] = append(moved[k], where.partition)
		default:
			f.add("%s has a key that was seen in partition %d", place(where.topic, where.partition, r), p)
		}
	}
	return f.all()
}
