package send

import (
	"math"
	"time"

	"github.com/IBM/sarama"
)

// identity is the producer's id and epoch, under which batches are numbered.
type identity struct {
	pid   int64
	epoch int16
	// v2: its transactions are of version 2, each of which has an epoch of its own
	// (KIP-890). No late request of one can become part of another.
	v2 bool
	// asking: an InitProducerID is under way or queued.
	asking bool
}

func (id *identity) ready() bool           { return id.pid >= 0 && !id.asking }
func (id *identity) is(pt *partition) bool { return pt.pid == id.pid && pt.epoch == id.epoch }

// number gives a batch the next sequence of its partition.
func (pt *partition) number(b *batch) {
	b.pid, b.epoch, b.seq, b.order = pt.pid, pt.epoch, pt.next, pt.order
	pt.next = advance(pt.next, b.count())
	pt.order++
}

// advance adds to a sequence, which goes on at 0 after the largest int32.
func advance(seq, n int32) int32 {
	if seq > math.MaxInt32-n {
		return n - (math.MaxInt32 - seq) - 1
	}
	return seq + n
}

// adopt moves a partition with nothing under way to the producer's present id and
// epoch. What it has sent and not settled is numbered anew from 0.
func (m *machine) adopt(pt *partition) {
	pt.pid, pt.epoch, pt.next, pt.base = m.id.pid, m.id.epoch, 0, pt.order
	pt.acked = pt.base - 1
	for _, b := range pt.sent {
		pt.number(b)
		b.reborn = true
	}
	pt.hole = false
	pt.retry = len(pt.sent) > 0
}

// resolve finishes what had to wait until a partition has nothing under way.
func (m *machine) resolve(now time.Time) {
	for _, pt := range m.parts {
		if pt.hole && len(pt.sent) == 0 {
			m.resolveHole(pt)
		}
		if !pt.renumber || pt.flying > 0 || m.transactional() {
			continue
		}
		if m.id.is(pt) && !m.id.asking {
			m.nextEpoch(now)
		}
		if m.id.ready() {
			pt.renumber = false
			m.adopt(pt)
		}
	}
}

// resolveHole: batches after the one that was given up have all been settled. If
// the last of them was acknowledged, the broker had the lost one and the sequence
// has no gap. Otherwise the epoch must move on: rule 5. A transaction gets its new
// epoch when it ends.
func (m *machine) resolveHole(pt *partition) {
	if pt.acked == pt.order-1 && pt.acked >= pt.base {
		pt.hole = false
		return
	}
	if !m.transactional() {
		pt.renumber = m.cfg.Idempotent
		pt.hole = m.cfg.Idempotent
	}
}

// nextEpoch raises the epoch. Without a transaction the producer may do that by
// itself (KIP-360); when the epochs are used up it asks for a new id.
func (m *machine) nextEpoch(now time.Time) {
	if m.id.epoch < math.MaxInt16-1 {
		m.id.epoch++
		m.stats.bumps.Add(1)
		m.log.Debug("producer epoch raised", "pid", m.id.pid, "epoch", m.id.epoch)
		return
	}
	m.askIdentity(now)
}

// askIdentity asks for a new producer id until there is one: without it nothing
// can be sent.
func (m *machine) askIdentity(now time.Time) {
	if m.id.asking {
		return
	}
	m.id.asking = true
	m.enqueue(&call{kind: callInit, pid: -1, epoch: -1, patient: true, done: func(a answer, err error) {
		m.id.asking = false
		if err == nil && a.code == sarama.ErrNoError {
			m.id.pid, m.id.epoch = a.pid, a.epoch
			return
		}
		if err == nil {
			err = codeError(ErrFatal, a.err())
		}
		m.perish(err)
	}}, now)
}

// perish fails everything, for good.
func (m *machine) perish(err error) {
	if m.gone == nil {
		m.gone = err
	}
	m.acc.fail(err)
	m.tx.die(err)
	for _, pt := range m.parts {
		pt.close(err)
		pt.collect(time.Time{}, 0, time.Time{})
		m.failQueue(pt, err)
		keep := pt.sent[:0]
		for _, b := range pt.sent {
			if b.flying {
				keep = append(keep, b)
				continue
			}
			m.finish(b, result{offset: -1}, err)
		}
		clear(pt.sent[len(keep):])
		pt.sent = keep
	}
}
