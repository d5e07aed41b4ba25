package pipeline

import "slices"

// group is the offsets of records that have become one: what the sink refuses of one is
// refused to all, or the next transaction would have the group without that one.
type group []int64

// group is that of a bond. Members that have failed on their own, as those can that only
// build on others, are none of it.
func (b *bond) group() group {
	g := make(group, 0, len(b.members))
	for _, h := range b.members {
		if !h.over {
			g = append(g, h.raw.Origin.Offset)
		}
	}
	return g
}

// fellowsOf are the records that have become one with a record whose output was refused,
// and it itself. The worker's mu is held, so that no claim is handing over.
func (w *Worker) fellowsOf(o Origin) []Origin {
	c := w.claims[Partition{Topic: o.Topic, Partition: o.Partition}]
	if c == nil {
		return []Origin{o}
	}
	for _, g := range c.groups {
		if !slices.Contains(g, o.Offset) {
			continue
		}
		all := make([]Origin, len(g))
		for i, at := range g {
			all[i] = Origin{Topic: o.Topic, Partition: o.Partition, Offset: at}
		}
		return all
	}
	return []Origin{o}
}
