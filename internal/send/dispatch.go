package send

import (
	"slices"
	"time"
)

// dispatch sends what may leave now, grouped by the leader: in each turn one
// batch of each partition at most, all for one node in one request.
func (m *machine) dispatch(now time.Time) (next time.Time) {
	for {
		var requests []*request // few, and in the order of the partitions
		next = time.Time{}
		for _, pt := range m.parts {
			b, at := m.pick(pt, now)
			next = earlier(next, at)
			if b == nil {
				continue
			}
			n, at := m.connection(pt.leader, now)
			if n == nil {
				if at.IsZero() {
					m.wantView = true
				}
				next = earlier(next, at)
				continue
			}
			// A partition whose leader moved waits until what flies at the old
			// one is back.
			if n.inFlight >= m.cfg.MaxInFlight || pt.flying > 0 && pt.on != n && m.cfg.keeps(ruleOneLeader) {
				continue
			}
			i := slices.IndexFunc(requests, func(r *request) bool { return r.node == n })
			if i < 0 {
				i = len(requests)
				requests = append(requests, &request{node: n, joins: m.id.v2, sent: now})
			}
			m.board(pt, b, requests[i])
		}
		if len(requests) == 0 {
			return next
		}
		for _, r := range requests {
			if r.node.inFlight > 0 {
				m.stats.overlaps.Add(1)
			}
			r.node.inFlight++
			m.stats.sent(r)
			m.w.produce(r)
		}
	}
}

// pick returns the batch of a partition that may leave next, or nil and when to
// look again.
func (m *machine) pick(pt *partition, now time.Time) (*batch, time.Time) {
	switch {
	case len(pt.sent) == 0 && len(pt.queue) == 0:
		return nil, time.Time{}
	case pt.notBefore.After(now):
		return nil, pt.notBefore
	case pt.flying >= m.cfg.MaxInFlight, pt.renumber, !pt.verified && m.committing():
		return nil, time.Time{}
	case pt.leader < 0:
		m.wantView = true
		return nil, time.Time{}
	}
	if pt.retry && m.cfg.keeps(ruleHeadAlone) {
		if pt.flying > 0 || len(pt.sent) == 0 {
			return nil, time.Time{}
		}
		return pt.sent[0], time.Time{}
	}
	for _, b := range pt.sent {
		if !b.flying {
			if pt.flying > 0 && m.unproven(pt) {
				return nil, time.Time{}
			}
			return b, time.Time{}
		}
	}
	if !m.mayBegin(pt) {
		return nil, time.Time{}
	}
	return pt.queue[0], time.Time{}
}

// unproven tells that nothing of the partition's epoch is acknowledged. A broker
// without state for the producer takes any first sequence, so nothing may follow
// the first batch before its acknowledgement: rule 1.
func (m *machine) unproven(pt *partition) bool {
	return m.cfg.Idempotent && pt.acked < pt.base && m.cfg.keeps(ruleFirstAlone)
}

// mayBegin reports whether the first batch of the queue may be sent for the first
// time.
func (m *machine) mayBegin(pt *partition) bool {
	if len(pt.queue) == 0 || pt.hole {
		return false
	}
	if !m.cfg.Idempotent {
		return true
	}
	if !m.id.ready() || m.transactional() && (!pt.inTxn || m.tx.refuses()) {
		return false
	}
	if len(pt.sent) == 0 {
		return true
	}
	if m.unproven(pt) || !m.id.is(pt) {
		return false
	}
	// The broker remembers the last five batches, acknowledged ones included; the
	// oldest open one must stay among them: rule 4.
	return pt.order-pt.sent[0].order < maxInFlightIdempotent || !m.cfg.keeps(ruleSpan)
}

// board puts a batch into a request; the first time, it gets its number.
func (m *machine) board(pt *partition, b *batch, r *request) {
	if !b.sealed {
		pt.queue = shift(pt.queue)
		b.sealed = true
		if m.cfg.Idempotent {
			if !m.id.is(pt) {
				m.adopt(pt)
			}
			pt.number(b)
		}
		pt.sent = append(pt.sent, b)
	}
	if b.tries > 0 {
		m.stats.retries.Add(1)
		if !m.cfg.keeps(ruleSameNumber) {
			pt.number(b)
		}
	}
	b.tries++
	b.flying = true
	pt.flying++
	pt.on = r.node
	r.batches = append(r.batches, b)
}
