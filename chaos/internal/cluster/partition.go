//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// nobody is a hardware address that no interface has.
const nobody = "02:00:00:00:00:ff"

// direction is the way from one broker to another.
type direction struct{ from, to int32 }

// Partition has all packets between brokers of a and brokers of b vanish, in both
// directions and on open connections, too, until heal is called. Clients reach them all as
// before. Partitions may overlap. Healing twice is harmless.
//
// A broker that is cut off from all others counts for Ready and the rest as one that
// stands still: it is not waited for, and not asked.
func (c *Cluster) Partition(a, b []int32) (heal func() error, err error) {
	if c.net == nil {
		return nil, errors.New("cluster: only an isolated cluster can be partitioned")
	}
	var ways []direction
	for _, x := range a {
		for _, y := range b {
			if _, err := c.broker(x); err != nil {
				return nil, err
			}
			if _, err := c.broker(y); err != nil {
				return nil, err
			}
			if x == y {
				return nil, fmt.Errorf("cluster: broker %d on both sides of a partition", x)
			}
			ways = append(ways, direction{x, y}, direction{y, x})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, way := range ways {
		if err := c.cut(way); err != nil {
			return nil, errors.Join(fmt.Errorf("cluster: partition: %w", err), c.mend(ways[:n]))
		}
	}
	c.log.Info("brokers partitioned", "a", a, "b", b)
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		left := ways
		ways = nil
		if left != nil {
			c.log.Info("partition healed", "a", a, "b", b)
		}
		return c.mend(left)
	}, nil
}

// cut and mend are called under mu.
func (c *Cluster) cut(way direction) error {
	if c.cuts[way] == 0 {
		if err := neighbour(way, "replace", " lladdr "+nobody+" nud permanent"); err != nil {
			return err
		}
	}
	c.cuts[way]++
	return nil
}

func (c *Cluster) mend(ways []direction) error {
	var errs []error
	for _, way := range ways {
		if c.cuts[way]--; c.cuts[way] == 0 {
			errs = append(errs, neighbour(way, "del", ""))
		}
	}
	return errors.Join(errs...)
}

// neighbour changes what a broker's system takes for the hardware address of another's.
func neighbour(way direction, verb, what string) error {
	return ip(context.Background(), "-n "+namespace(way.from)+" neigh "+verb+" "+brokerHost(way.to)+" dev eth0"+what)
}

// cutOff tells whether a broker reaches no other.
func (c *Cluster) cutOff(node int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.nodes, func(b *broker) bool {
		return b.id != node && c.cuts[direction{node, b.id}] == 0
	})
}

// answering are the brokers that should answer, and know what the cluster does.
func (c *Cluster) answering() (some []*broker, err error) {
	for _, b := range c.nodes {
		up, err := b.up()
		if err != nil {
			return nil, err
		}
		if up && !c.cutOff(b.id) {
			some = append(some, b)
		}
	}
	if len(some) == 0 {
		return nil, errors.New("no broker runs")
	}
	return some, nil
}
