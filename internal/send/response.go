package send

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// produced takes the outcome of a request.
func (m *machine) produced(r *request, now time.Time) {
	r.node.inFlight--
	m.stats.answered(r)
	if r.err != nil {
		m.log.Debug("connection lost", "broker", r.node.id, "error", r.err)
		m.drop(r.node, now)
		m.wantView = true
	}
	for i, b := range r.batches {
		pt := b.part
		b.flying = false
		pt.flying--
		switch {
		case m.cfg.Acks == sarama.NoResponse && r.err == nil:
			m.acknowledged(pt, b, result{offset: -1})
		case m.gone != nil && (r.err != nil || r.results[i].code != sarama.ErrNoError):
			pt.remove(b)
			m.finish(b, result{offset: -1}, m.gone)
		case m.cfg.Acks == sarama.NoResponse:
			m.failed(pt, b, r.err) // it may be written: a retry could double it
		case secure.Refused(r.err): // nothing was sent: the connection was not made
			m.failed(pt, b, r.err)
		case r.err != nil:
			// A copy may still be on its way: the next transaction needs another
			// epoch, rule 3.
			m.tx.lost = true
			m.retryLater(pt, b, r.err, now)
		default:
			m.answered(pt, b, r.results[i], now)
		}
	}
}

// answered takes the broker's answer for one batch.
func (m *machine) answered(pt *partition, b *batch, r result, now time.Time) {
	switch r.code {
	case sarama.ErrNoError, sarama.ErrDuplicateSequenceNumber:
		if r.code == sarama.ErrDuplicateSequenceNumber {
			m.stats.duplicates.Add(1)
		}
		m.acknowledged(pt, b, r)
		return
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		if b.count() > 1 && m.split(pt, b) {
			pt.retry = true
			return
		}
		m.failed(pt, b, codeError(ErrTooLarge, r.code))
		return
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerEpoch:
		m.outOfSequence(pt, b, r, now)
		return
	}
	switch classify(r.code) {
	case codeLeader:
		m.takeHint(pt, r)
		m.wantView = true
		m.retryLater(pt, b, r.code, now)
	case codeRetry, codeCoordinator:
		m.retryLater(pt, b, r.code, now)
	case codeFenced:
		m.fenced(codeError(ErrFenced, r.code))
		m.failed(pt, b, codeError(ErrFenced, r.code))
	case codeFatal:
		err := codeError(ErrFatal, m.refusal(pt, r.code))
		m.tx.die(err)
		m.failed(pt, b, err)
	default:
		m.failed(pt, b, m.refusal(pt, r.code))
	}
}

// refusal is a broker's answer to a batch, with the right that is missing if it is for
// that.
func (m *machine) refusal(pt *partition, code sarama.KError) error {
	switch code {
	case sarama.ErrClusterAuthorizationFailed:
		return secure.Denied(code, secure.IdempotentWrite, secure.Cluster, "")
	case sarama.ErrTransactionalIDAuthorizationFailed:
		return secure.Denied(code, secure.Write, secure.TransactionalID, m.cfg.TransactionalID)
	}
	return secure.Denied(code, secure.Write, secure.Topic, pt.topic)
}

// acknowledged settles a batch. It says nothing about the batches before it:
// rule 2.
func (m *machine) acknowledged(pt *partition, b *batch, r result) {
	if b.pid == pt.pid && b.epoch == pt.epoch && b.order > pt.acked {
		pt.acked = b.order
	}
	pt.verified = pt.inTxn
	for !m.cfg.keeps(ruleOwnAnswer) && pt.sent[0] != b && !pt.sent[0].flying {
		m.acknowledged(pt, pt.sent[0], result{offset: -1})
	}
	head := len(pt.sent) > 0 && pt.sent[0] == b
	pt.remove(b)
	if head || len(pt.sent) == 0 {
		pt.calm()
	}
	m.finish(b, r, nil)
}

// failed settles a batch that was refused for good. Its numbers are never used,
// so the ones after it need another epoch; but not before they have their own
// answers, for some of them, and of those before it, may be in the log: rule 5.
func (m *machine) failed(pt *partition, b *batch, err error) {
	pt.remove(b)
	if len(pt.sent) == 0 {
		pt.calm()
	}
	m.tx.lost = true
	pt.hole = m.cfg.Idempotent && m.cfg.keeps(ruleHole)
	m.finish(b, result{offset: -1}, err)
}

func (pt *partition) remove(b *batch) {
	for i, x := range pt.sent {
		if x == b {
			copy(pt.sent[i:], pt.sent[i+1:])
			pt.sent[len(pt.sent)-1] = nil
			pt.sent = pt.sent[:len(pt.sent)-1]
			return
		}
	}
}

// outOfSequence: the broker misses something before this batch. Usually that is a
// batch that is about to be sent again; if it is the next one by our count, the
// broker has lost its state, and only another epoch helps.
func (m *machine) outOfSequence(pt *partition, b *batch, r result, now time.Time) {
	m.stats.outOfSequence.Add(1)
	if !m.cfg.Idempotent {
		m.failed(pt, b, r.code)
		return
	}
	fenced := r.code == sarama.ErrInvalidProducerEpoch
	head := len(pt.sent) > 0 && pt.sent[0] == b
	expected := head && (pt.hole || b.order == pt.acked+1)
	switch {
	case m.transactional() && fenced:
		m.fenced(codeError(ErrFenced, r.code))
		m.failed(pt, b, codeError(ErrFenced, r.code))
	case m.transactional() && (expected || r.code == sarama.ErrUnknownProducerID):
		m.failed(pt, b, r.code)
	case m.transactional():
		m.retryLater(pt, b, r.code, now)
	case expected || fenced || r.code == sarama.ErrUnknownProducerID:
		m.retryLater(pt, b, r.code, now)
		if b.epoch == pt.epoch && b.pid == pt.pid {
			pt.renumber = true
		}
	default:
		m.retryLater(pt, b, r.code, now)
	}
}

// takeHint follows a leader that the broker names, if its epoch is newer and its
// address known.
func (m *machine) takeHint(pt *partition, r result) {
	if r.leader < 0 || r.leaderEpoch <= pt.leaderEpoch && m.cfg.keeps(ruleHintEpoch) {
		return
	}
	if _, known := m.addrs[r.leader]; !known {
		return
	}
	m.stats.hints.Add(1)
	pt.leader, pt.leaderEpoch = r.leader, r.leaderEpoch
}

// split cuts a batch that is too large for the broker. The halves keep its
// sequences: the broker has taken none of them.
func (m *machine) split(pt *partition, b *batch) bool {
	m.stats.leave(b)
	tail, err := b.split()
	if err == nil {
		m.stats.seal(tail)
	}
	m.stats.seal(b)
	if err != nil { // our own encoding: it cannot be
		m.log.Error("a batch cannot be split", "topic", pt.topic, "partition", pt.id, "error", err)
		return false
	}
	m.stats.splits.Add(1)
	m.acc.mem.over(tail.charge)
	m.acc.rounds.join(tail.round)
	at := 0
	for i, x := range pt.sent {
		if x == b {
			at = i
		}
	}
	pt.sent = append(pt.sent, nil)
	copy(pt.sent[at+2:], pt.sent[at+1:])
	pt.sent[at+1] = tail
	if !m.cfg.Idempotent {
		return true
	}
	tail.pid, tail.epoch, tail.seq, tail.reborn = b.pid, b.epoch, advance(b.seq, b.count()), b.reborn
	tail.order = b.order
	for _, x := range pt.sent[at+1:] {
		x.order++
	}
	if pt.acked > b.order { // later ones were acknowledged already
		pt.acked++
	}
	pt.order++
	return true
}
