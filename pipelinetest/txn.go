package pipelinetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

type txnState uint8

const (
	txnOpen txnState = iota
	txnCommitted
	txnAborted
)

// txn is one transaction as the cluster sees it: from its first write on.
type txn struct {
	state   txnState
	worker  string
	logs    map[*partitionLog]bool
	group   string
	offsets map[pipeline.Partition]int64
	records int
	timer   *time.Timer
}

// producer is what the cluster knows of a transactional id.
type producer struct {
	epoch int
	open  *txn
	late  []lateEnd
}

// lateEnd is an EndTxn that is still on its way.
type lateEnd struct {
	epoch  int
	commit bool
}

var (
	errFenced            = errors.New("the transactional id has been taken by another producer")
	errUnknownMember     = errors.New("the group does not know this member")
	errIllegalGeneration = errors.New("the group is in another generation")
)

// takeOver ends what the id has open and returns the new epoch. mu must be held.
func (c *Cluster) takeOver(id string) int {
	p := c.producers[id]
	if p == nil {
		p = &producer{}
		c.producers[id] = p
	}
	p.epoch++
	if p.open != nil {
		c.end(p, false)
	}
	return p.epoch
}

// current returns the id's producer if epoch is its latest. mu must be held.
func (c *Cluster) current(id string, epoch int) (*producer, error) {
	p := c.producers[id]
	if p == nil || p.epoch != epoch {
		return nil, &pipeline.SinkError{Op: "epoch", Verdict: pipeline.Fenced, Err: fmt.Errorf("%w: %q", errFenced, id)}
	}
	return p, nil
}

// transaction returns the id's open transaction, begun if need be: like Kafka's,
// it exists only from the first write on. mu must be held.
func (c *Cluster) transaction(p *producer, worker string) *txn {
	if p.open != nil {
		return p.open
	}
	t := &txn{worker: worker, logs: map[*partitionLog]bool{}, offsets: map[pipeline.Partition]int64{}}
	p.open = t
	t.timer = time.AfterFunc(c.cfg.TransactionTimeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.open == t {
			p.epoch++
			c.end(p, false)
		}
	})
	return t
}

// end ends the open transaction, if there is one. mu must be held.
func (c *Cluster) end(p *producer, commit bool) {
	t := p.open
	if t == nil {
		return
	}
	p.open = nil
	t.timer.Stop()
	t.state = txnAborted
	if commit {
		t.state = txnCommitted
		c.committed(t.worker, t.group, t.offsets, t.records)
	}
	for l := range t.logs {
		l.append(entry{control: true})
	}
	c.broadcast()
}

// committed takes positions into the group. mu must be held.
func (c *Cluster) committed(worker, group string, offsets map[pipeline.Partition]int64, records int) {
	if len(offsets) > 0 {
		maps.Copy(c.group(group).committed, offsets)
	}
	log := Commit{Worker: worker, Group: group, Records: records, Time: time.Now()}
	for _, part := range slices.SortedFunc(maps.Keys(offsets), pipeline.Partition.Compare) {
		log.Offsets = append(log.Offsets, pipeline.Offset{Partition: part, Next: offsets[part]})
	}
	c.commits = append(c.commits, log)
	c.broadcast()
}

// deliverLate lets the EndTxn requests arrive that were held back: each ends what
// is open by now, if its epoch is still the producer's. mu must be held.
func (c *Cluster) deliverLate(p *producer) {
	late := p.late
	p.late = nil
	for _, l := range late {
		if l.epoch == p.epoch {
			c.end(p, l.commit)
		}
	}
}

// pending reports whether an open transaction holds a position. mu must be held.
func (c *Cluster) pending(group string, part pipeline.Partition) bool {
	for _, p := range c.producers {
		if p.open == nil || p.open.group != group {
			continue
		}
		if _, ok := p.open.offsets[part]; ok {
			return true
		}
	}
	return false
}
