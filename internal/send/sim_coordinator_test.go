package send

import (
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// simTxn is a transactional id at its coordinator, as Kafka keeps it.
type simTxn struct {
	pid, lastPid int64
	nextPid      int64 // after the end of a transaction with the last epoch of version 2, 0 for none
	epoch, last  int16 // last is the epoch before the latest raise by the producer itself, -1 for none
	state        simTxnState
	parts        []*simPart
	begun        time.Time
	markers      int // not written yet
}

type simTxnState uint8

const (
	txnEmpty simTxnState = iota
	txnOngoing
	txnCommitting
	txnAborting
	txnCommitted
	txnAborted
)

// exhausted is Kafka's isEpochExhausted.
func exhausted(epoch int16) bool { return epoch >= math.MaxInt16-1 }

// coordinate executes a coordinator's request.
func (cl *cluster) coordinate(id string, c *call) answer {
	s := cl.s
	switch {
	case cl.away.After(s.now):
		return answer{code: []sarama.KError{
			sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrOffsetsLoadInProgress,
		}[s.rnd.IntN(3)]}
	case s.chance(s.f.callCode):
		codes := []sarama.KError{
			sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrOffsetsLoadInProgress,
			sarama.ErrConcurrentTransactions,
		}
		if c.kind == callCommit && s.rnd.IntN(4) == 0 {
			codes = []sarama.KError{sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId}
		}
		return answer{code: codes[s.rnd.IntN(len(codes))]}
	}
	if id == "" {
		cl.pids++
		a := answer{pid: cl.pids}
		if s.seed%4 == 1 {
			a.epoch = math.MaxInt16 - int16(s.rnd.IntN(4))
		}
		return a
	}
	t := cl.txns[id]
	switch c.kind {
	case callInit, callBump:
		return cl.initialise(id, t, c)
	case callAdd:
		var parts []*simPart
		for _, p := range cl.parts {
			if slices.Contains(c.partitions[p.topic], p.id) {
				parts = append(parts, p)
			}
		}
		return answer{code: cl.addToTxn(t, c.pid, c.epoch, parts)}
	case callOffsets:
		return answer{code: cl.addToTxn(t, c.pid, c.epoch, []*simPart{cl.offsets})}
	case callCommit:
		return answer{code: cl.commitOffsets(c)}
	}
	if c.v2 {
		return cl.endTxn2(t, c)
	}
	return answer{code: cl.endTxn(t, c)}
}

func (cl *cluster) initialise(id string, t *simTxn, c *call) answer {
	if t == nil {
		t = &simTxn{pid: cl.nextPid(), lastPid: -1, last: -1}
		if cl.s.seed%4 == 1 {
			t.epoch = math.MaxInt16 - 1 - int16(cl.s.rnd.IntN(5))
		}
		cl.txns[id] = t
		return answer{pid: t.pid, epoch: t.epoch, v2: cl.v2}
	}
	self := c.pid >= 0
	if self && c.pid != t.pid && !(c.pid == t.lastPid && exhausted(c.epoch)) {
		return answer{code: sarama.ErrProducerFenced}
	}
	switch t.state {
	case txnCommitting, txnAborting:
		return answer{code: sarama.ErrConcurrentTransactions}
	case txnOngoing: // end it first, with an epoch that nobody is told
		t.epoch++
		t.last = -1
		cl.finishTxn(t, false)
		return answer{code: sarama.ErrConcurrentTransactions}
	}
	switch {
	case exhausted(t.epoch) && (!self || c.epoch == t.epoch):
		t.lastPid, t.pid = t.pid, cl.nextPid()
		t.last, t.epoch = -1, 0
		if self {
			t.last = c.epoch
		}
	case !self:
		t.epoch++
		t.last = -1
	case c.epoch == t.epoch:
		t.last = t.epoch
		t.epoch++
	case c.epoch == t.last: // it never got the answer
	default:
		return answer{code: sarama.ErrProducerFenced}
	}
	t.state, t.parts = txnEmpty, nil
	return answer{pid: t.pid, epoch: t.epoch, v2: cl.v2}
}

func (cl *cluster) nextPid() int64 {
	cl.pids++
	return cl.pids
}

func (t *simTxn) owner(pid int64, epoch int16) sarama.KError {
	switch {
	case t == nil || t.pid != pid && t.nextPid != pid:
		return sarama.ErrInvalidProducerIDMapping
	case t.nextPid == pid:
		return sarama.ErrConcurrentTransactions
	case t.epoch != epoch:
		return sarama.ErrProducerFenced
	}
	return sarama.ErrNoError
}

func (cl *cluster) addToTxn(t *simTxn, pid int64, epoch int16, parts []*simPart) sarama.KError {
	if code := t.owner(pid, epoch); code != sarama.ErrNoError {
		return code
	}
	if t.state == txnCommitting || t.state == txnAborting {
		return sarama.ErrConcurrentTransactions
	}
	if t.state != txnOngoing {
		t.state, t.parts, t.begun = txnOngoing, nil, cl.s.now
		begun := t.begun
		cl.s.after(cl.s.cfg.TransactionTimeout, func() {
			if t.state == txnOngoing && t.begun.Equal(begun) {
				cl.s.tracef("coordinator: the transaction of %d/%d has timed out", t.pid, t.epoch)
				t.epoch++
				t.last = -1
				cl.finishTxn(t, false)
			}
		})
	}
	for _, p := range parts {
		if !slices.Contains(t.parts, p) {
			t.parts = append(t.parts, p)
		}
	}
	return sarama.ErrNoError
}

// endTxn is EndTxn of transaction version 1.
func (cl *cluster) endTxn(t *simTxn, c *call) sarama.KError {
	if code := t.owner(c.pid, c.epoch); code != sarama.ErrNoError {
		return code
	}
	switch {
	case t.state == txnOngoing:
		cl.finishTxn(t, c.commit)
		return sarama.ErrNoError
	case t.state == txnCommitted && c.commit, t.state == txnAborted && !c.commit:
		return sarama.ErrNoError
	case t.state == txnCommitting && c.commit, t.state == txnAborting && !c.commit:
		return sarama.ErrConcurrentTransactions
	}
	return sarama.ErrInvalidTxnState
}

// endTxn2 is EndTxn of transaction version 2: the end raises the epoch, and says so to
// whoever asks for it again.
func (cl *cluster) endTxn2(t *simTxn, c *call) answer {
	if t == nil {
		return answer{code: sarama.ErrInvalidProducerIDMapping}
	}
	overflow := t.lastPid == c.pid && exhausted(c.epoch) && t.epoch == 0
	again := t.epoch == c.epoch+1 || overflow
	valid := c.epoch == t.epoch
	switch t.state {
	case txnCommitting, txnAborting:
		valid = again
	case txnCommitted, txnAborted:
		valid = valid || again
	}
	switch {
	case t.pid != c.pid && !overflow:
		return answer{code: sarama.ErrInvalidProducerIDMapping}
	case !valid:
		return answer{code: sarama.ErrProducerFenced}
	case t.state == txnCommitting && c.commit, t.state == txnAborting && !c.commit:
		return answer{code: sarama.ErrConcurrentTransactions}
	case again && (t.state == txnCommitted && c.commit || t.state == txnAborted && !c.commit):
		return answer{pid: t.pid, epoch: t.epoch}
	case t.state == txnOngoing, !again && !c.commit && t.state != txnCommitting && t.state != txnAborting:
	default:
		return answer{code: sarama.ErrInvalidTxnState}
	}
	a := answer{pid: t.pid, epoch: t.epoch + 1}
	if exhausted(t.epoch) {
		t.nextPid = cl.nextPid()
		a = answer{pid: t.nextPid}
	}
	t.last = t.epoch
	t.epoch++
	cl.finishTxn(t, c.commit)
	return a
}

// finishTxn decides, and has the markers written a little later.
func (cl *cluster) finishTxn(t *simTxn, commit bool) {
	t.state = txnAborting
	if commit {
		t.state = txnCommitting
	}
	cl.s.tracef("coordinator: transaction of %d/%d ends, commit %v", t.pid, t.epoch, commit)
	t.markers = len(t.parts)
	pid, epoch := t.pid, t.epoch
	end := func() {
		t.state = txnAborted
		if commit {
			t.state = txnCommitted
		}
		t.parts = nil
		if t.nextPid != 0 {
			t.lastPid, t.pid, t.epoch, t.nextPid = t.pid, t.nextPid, 0, 0
		}
	}
	if t.markers == 0 {
		end()
		return
	}
	slow := 5 * time.Millisecond
	if cl.s.chance(.1) {
		slow = time.Second
	}
	for _, p := range t.parts {
		cl.s.after(cl.s.upTo(slow), func() {
			cl.s.tracef("broker: %v marker of %d/%d commit %v", p.tp, pid, epoch, commit)
			p.add(entry{pid: pid, epoch: epoch, marker: true, commit: commit})
			p.replicated(len(p.log))
			if t.markers--; t.markers == 0 {
				end()
			}
		})
	}
}

// verify is the check of KIP-890: a batch must not open a transaction of which the
// coordinator does not know. In version 2 the broker tells it.
func (cl *cluster) verify(p *simPart, sb *simBatch) sarama.KError {
	if !sb.txn {
		return sarama.ErrNoError
	}
	if st := p.states[sb.pid]; st != nil && st.open && st.epoch == sb.epoch {
		return sarama.ErrNoError
	}
	for _, t := range cl.txns {
		if sb.joins && (t.pid == sb.pid || t.nextPid == sb.pid) {
			code := cl.addToTxn(t, sb.pid, sb.epoch, []*simPart{p})
			if code == sarama.ErrProducerFenced {
				code = sarama.ErrInvalidProducerEpoch
			}
			return code
		}
		switch {
		case t.pid != sb.pid:
		case t.epoch != sb.epoch:
			return sarama.ErrInvalidProducerEpoch
		case t.state == txnCommitting || t.state == txnAborting:
			return sarama.ErrNotEnoughReplicas
		case t.state == txnOngoing && slices.Contains(t.parts, p):
			return sarama.ErrNoError
		}
	}
	return sarama.ErrInvalidTxnState
}

// commitOffsets is TxnOffsetCommit: a batch without a sequence.
func (cl *cluster) commitOffsets(c *call) sarama.KError {
	sb := &simBatch{tp: cl.offsets.tp, pid: c.pid, epoch: c.epoch, txn: true, joins: c.v2}
	if code := cl.verify(cl.offsets, sb); code != sarama.ErrNoError {
		if code == sarama.ErrNotEnoughReplicas {
			code = sarama.ErrConcurrentTransactions
		}
		return code
	}
	if st := cl.offsets.states[c.pid]; st != nil && st.epoch > c.epoch {
		return sarama.ErrInvalidProducerEpoch
	}
	for _, o := range c.offsets {
		cl.offsets.add(entry{pid: c.pid, epoch: c.epoch, ids: []int64{o.Next}, txn: true})
	}
	cl.offsets.replicated(len(cl.offsets.log))
	return sarama.ErrNoError
}

// visible is what a reader of committed records sees of a partition, in order, and
// how many records are held back by a transaction that never ends.
func (p *simPart) visible() (ids []int64, held int) {
	open := map[int64][]int{} // by producer, positions in the log
	fate := make([]bool, len(p.log))
	for i, e := range p.log {
		switch {
		case e.marker:
			for _, at := range open[e.pid] {
				fate[at] = e.commit
			}
			delete(open, e.pid)
		case e.txn:
			open[e.pid] = append(open[e.pid], i)
		default:
			fate[i] = true
		}
	}
	for i, e := range p.log {
		if fate[i] {
			ids = append(ids, e.ids...)
		}
	}
	for _, at := range open {
		held += len(at)
	}
	return ids, held
}
