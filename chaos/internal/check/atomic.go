package check

import (
	"slices"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// CheckAtomic compares the units that can be seen with their manifests: what a
// manifest names is there, and nothing of a unit is without it. The manifests of a
// partition together cover its input, each offset once. Of the aborted units there
// must be nothing. Without manifests and units there is nothing to compare.
func CheckAtomic(x *Expectation, log *history.Log, aborted []string) []Violation {
	f := findings{of: Atomic}
	seen := visible(log)
	for _, name := range aborted {
		if seen[log.Units.Known(name)] {
			f.add("unit %s was aborted and can be seen", name)
		}
	}
	manifests := map[history.UnitID]workload.Manifest{}
	for _, m := range log.Manifests {
		id := log.Units.ID([]byte(m.Unit))
		if _, twice := manifests[id]; twice {
			f.add("a second manifest: %v", m)
		}
		manifests[id] = m
	}
	found := map[history.UnitID]*[2]int{}
	orphans := map[history.UnitID]bool{}
	for where, r := range outputs(log) {
		if where.topic == workload.DeadLetters || r.Unit == 0 && len(manifests) == 0 {
			continue // a dead letter is the engine's
		}
		m, ok := manifests[r.Unit]
		switch {
		case r.Unit == 0:
			f.add("no unit: %s", place(where.topic, where.partition, r))
		case !ok && !orphans[r.Unit]:
			orphans[r.Unit] = true
			f.add("unit %s without a manifest: %s", log.Units.Name(r.Unit), place(where.topic, where.partition, r))
		case ok && (m.Partition != r.Partition || r.Source < m.First || r.Source > m.Last):
			f.add("%s does not belong in %v", place(where.topic, where.partition, r), m)
		}
		n := found[r.Unit]
		if n == nil {
			n = new([2]int)
			found[r.Unit] = n
		}
		n[where.topic]++
	}
	for id, m := range manifests {
		var n [2]int
		if there := found[id]; there != nil {
			n = *there
		}
		if n != [2]int{m.Left, m.Right} {
			f.add("incomplete: %v; there are %d and %d", m, n[workload.Left], n[workload.Right])
		}
	}
	if len(manifests) > 0 {
		covered(x, log.Manifests, &f)
	}
	return f.all()
}

// visible are the units that a log has a record of.
func visible(log *history.Log) map[history.UnitID]bool {
	seen := map[history.UnitID]bool{}
	for topic := range log.Records {
		for _, records := range log.Records[topic] {
			for i := range records {
				if id := records[i].Unit; id != 0 {
					seen[id] = true
				}
			}
		}
	}
	return seen
}

// covered sees that manifests cover every input once.
func covered(x *Expectation, manifests []workload.Manifest, f *findings) {
	sorted := slices.SortedFunc(slices.Values(manifests), func(a, b workload.Manifest) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.First - b.First)
	})
	next := make([]int64, len(x.partitions))
	for _, m := range sorted {
		if m.Partition < 0 || int(m.Partition) >= len(next) || m.Last < m.First {
			f.add("no such input: %v", m)
			continue
		}
		if m.First < next[m.Partition] {
			f.add("input up to offset %d was in a unit before: %v", next[m.Partition], m)
		}
		x.gap(m.Partition, next[m.Partition], m.First, f)
		next[m.Partition] = max(next[m.Partition], m.Last+1)
	}
	for p, from := range next {
		x.gap(int32(p), from, x.end(int32(p)), f)
	}
}

// gap reports offsets that no unit covers, but for those that none has to.
func (x *Expectation) gap(partition int32, from, to int64, f *findings) {
	for offset := from; offset < to; offset++ {
		if !x.passedBy(partition, offset) {
			f.add("input [%d]@%d is in no unit", partition, offset)
			return
		}
	}
}
