package cluster

import (
	"slices"
	"sync"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
)

// directory is who is where, as far as is known, and connections that nobody uses
// at the moment, one to a broker.
type directory struct {
	mu      sync.Mutex
	brokers map[int32]string
	leaders map[pipeline.Partition]int32
	groups  map[string]string
	idle    map[string]*wire.Conn
	closed  bool
}

// learn takes over what a broker says.
func (d *directory) learn(resp *sarama.MetadataResponse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.brokers = map[int32]string{}
	for _, b := range resp.Brokers {
		d.brokers[b.ID()] = b.Addr()
	}
	if d.leaders == nil {
		d.leaders = map[pipeline.Partition]int32{}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			d.leaders[pipeline.Partition{Topic: t.Name, Partition: p.ID}] = p.Leader
		}
	}
}

func (d *directory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.brokers)
}

func (d *directory) addresses() (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, addr := range d.brokers {
		out = append(out, addr)
	}
	slices.Sort(out)
	return out
}

func (d *directory) leader(part pipeline.Partition) (addr string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, known := d.leaders[part]
	if !known {
		return "", false
	}
	addr, known = d.brokers[id]
	return addr, known
}

func (d *directory) forget(part pipeline.Partition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.leaders, part)
}

func (d *directory) coordinator(group string) (addr string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	addr, known = d.groups[group]
	return addr, known
}

// coordinates notes a group's coordinator; an empty address forgets it.
func (d *directory) coordinates(group, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.groups == nil {
		d.groups = map[string]string{}
	}
	if addr == "" {
		delete(d.groups, group)
		return
	}
	d.groups[group] = addr
}

// take returns an idle connection, nil if there is none.
func (d *directory) take(addr string) (*wire.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	conn := d.idle[addr]
	delete(d.idle, addr)
	return conn, nil
}

// give takes a connection back.
func (d *directory) give(addr string, conn *wire.Conn) {
	d.mu.Lock()
	keep := !d.closed && d.idle[addr] == nil
	if keep {
		if d.idle == nil {
			d.idle = map[string]*wire.Conn{}
		}
		d.idle[addr] = conn
	}
	d.mu.Unlock()
	if !keep {
		conn.Close()
	}
}

func (d *directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, conn := range d.idle {
		conn.Close()
	}
	d.idle = nil
}
