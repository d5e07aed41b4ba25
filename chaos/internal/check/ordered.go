package check

import "github.com/leat-stream/leat/chaos/internal/history"

// CheckOrdered sees that in each partition of an output, what comes from one partition
// of the input is in the input's order, and that a key stays in one partition: together
// that is the order of each key. Doubles of the record before are the business of
// [CheckDelivered].
func CheckOrdered(log *history.Log) []Violation {
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
	for where, r := range outputs(log) {
		s := stream{where, r.Partition}
		if before := last[s]; before != nil && (r.Source < before.Source || r.Source == before.Source && r.Index < before.Index) {
			f.add("%s comes after output %d of offset %d", place(where.topic, where.partition, r), before.Index, before.Source)
		}
		last[s] = r
		k := key{where.topic, r.Key}
		if p, known := home[k]; !known {
			home[k] = where.partition
		} else if p != where.partition {
			f.add("%s has a key that was seen in partition %d", place(where.topic, where.partition, r), p)
		}
	}
	return f.all()
}
