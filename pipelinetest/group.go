package pipelinetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/leat-stream/leat/pipeline"
)

// group is a consumer group and its coordinator. A partition has a target, the
// member that shall have it, and an owner, the one that has; a cooperative
// rebalance is the time in which they differ.
type group struct {
	generation int32
	joined     int
	members    map[string]*member // by member id
	target     map[pipeline.Partition]string
	owner      map[pipeline.Partition]string
	pinned     map[pipeline.Partition]string // to a worker's name
	committed  map[pipeline.Partition]int64
}

type member struct {
	id         string
	worker     string
	topics     []string
	generation int32 // as the member knows it
}

// group returns a group, made if need be. mu must be held.
func (c *Cluster) group(name string) *group {
	g := c.groups[name]
	if g == nil {
		g = &group{
			members: map[string]*member{}, target: map[pipeline.Partition]string{}, owner: map[pipeline.Partition]string{},
			pinned: map[pipeline.Partition]string{}, committed: map[pipeline.Partition]int64{},
		}
		c.groups[name] = g
	}
	return g
}

// join makes m a member, or lets it join again under its id. Of workers with one
// name the last one counts, as with static membership. mu must be held.
func (c *Cluster) join(g *group, m *member) {
	for id, other := range g.members {
		if other.worker == m.worker && other != m {
			c.remove(g, id)
		}
	}
	if m.id == "" {
		g.joined++
		m.id = fmt.Sprintf("%s-%d", m.worker, g.joined)
	}
	g.members[m.id] = m
	g.free(m.id) // a session begins with nothing
	c.rebalance(g)
}

// free frees what a member owns. mu must be held.
func (g *group) free(id string) {
	maps.DeleteFunc(g.owner, func(_ pipeline.Partition, owner string) bool { return owner == id })
}

// remove takes a member out of the group, whether it knows or not: its partitions
// are free at once. mu must be held.
func (c *Cluster) remove(g *group, id string) {
	if g.members[id] == nil {
		return
	}
	delete(g.members, id)
	g.free(id)
	c.rebalance(g)
}

// rebalance begins a new generation: partitions go where they are pinned, stay
// where they are as far as that is fair, and fill up the rest. mu must be held.
func (c *Cluster) rebalance(g *group) {
	g.generation++
	defer c.broadcast()
	members := slices.SortedFunc(maps.Values(g.members), func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.id, b.id))
	})
	target := map[pipeline.Partition]string{}
	load := map[string]int{}
	give := func(part pipeline.Partition, id string) {
		target[part] = id
		load[id]++
	}
	var parts []pipeline.Partition
	for name, t := range c.topics {
		for i := range t.partitions {
			part := pipeline.Partition{Topic: name, Partition: int32(i)}
			if slices.ContainsFunc(members, func(m *member) bool { return slices.Contains(m.topics, name) }) {
				parts = append(parts, part)
			}
		}
	}
	slices.SortFunc(parts, pipeline.Partition.Compare)
	for _, part := range parts {
		for _, m := range members {
			if g.pinned[part] == m.worker {
				give(part, m.id)
			}
		}
	}
	fair := (len(parts) + len(members) - 1) / max(len(members), 1)
	for _, part := range parts {
		if old := g.target[part]; target[part] == "" && g.members[old] != nil && load[old] < fair {
			give(part, old)
		}
	}
	for _, part := range parts {
		if target[part] != "" {
			continue
		}
		least := slices.MinFunc(members, func(a, b *member) int { return cmp.Compare(load[a.id], load[b.id]) })
		give(part, least.id)
	}
	g.target = target
}

// plan is what a member has to do after a rebalance.
type plan struct {
	lost          bool // it is no member any more
	revoke, grant []pipeline.Partition
}

// sync tells a member the generation and its part of the assignment. What it is
// granted it owns from now on. mu must be held.
func (g *group) sync(m *member) plan {
	if g.members[m.id] != m {
		return plan{lost: true}
	}
	m.generation = g.generation
	var p plan
	for part, id := range g.owner {
		if id == m.id && g.target[part] != m.id {
			p.revoke = append(p.revoke, part)
		}
	}
	for part, id := range g.target {
		if id == m.id && g.owner[part] == "" {
			g.owner[part] = m.id
			p.grant = append(p.grant, part)
		}
	}
	slices.SortFunc(p.grant, pipeline.Partition.Compare)
	return p
}

// released frees a partition that its owner has given up. mu must be held.
func (c *Cluster) released(g *group, m *member, part pipeline.Partition) {
	if g.owner[part] == m.id {
		delete(g.owner, part)
		c.broadcast()
	}
}

// check refuses who is not of the group, or of another generation. mu must be
// held.
func (g *group) check(meta pipeline.GroupMetadata) error {
	m := g.members[meta.Member]
	switch {
	case m == nil:
		return fmt.Errorf("%w: %w: %q", pipeline.ErrRebalanced, errUnknownMember, meta.Member)
	case meta.Generation != g.generation:
		return fmt.Errorf("%w: %w: %d, not %d", pipeline.ErrRebalanced, errIllegalGeneration, g.generation, meta.Generation)
	}
	return nil
}

// Move gives a partition to a worker of a group, cooperatively: its owner is told
// to give it up, and only when it has, the other one gets it. The partition stays
// pinned to that worker while the worker is in the group.
func (c *Cluster) Move(groupName, topic string, partition int32, worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.group(groupName)
	g.pinned[pipeline.Partition{Topic: topic, Partition: partition}] = worker
	c.rebalance(g)
}

// Rebalance begins a new generation of a group in which nothing moves.
func (c *Cluster) Rebalance(groupName string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebalance(c.group(groupName))
}

// Owner returns the name of the worker that owns a partition now, or "".
func (c *Cluster) Owner(groupName, topic string, partition int32) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.group(groupName)
	if m := g.members[g.owner[pipeline.Partition{Topic: topic, Partition: partition}]]; m != nil {
		return m.worker
	}
	return ""
}
