package send

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// transaction is the state of the transaction that is open, or of the last one.
type transaction struct {
	open     bool
	aborting bool
	bad      error // it can only be aborted
	dead     error // the producer is of no use any more
	started  bool  // the coordinator may have heard of it
	tainted  bool  // a copy of a coordinator's request may still be on its way
	lost     bool  // a copy of a batch may be, or its numbers have a gap
}

// refuses reports whether nothing new may be sent.
func (t *transaction) refuses() bool { return t.aborting || t.bad != nil || t.dead != nil }

func (t *transaction) why() error {
	switch {
	case t.dead != nil:
		return t.dead
	case t.bad != nil:
		return fmt.Errorf("%w: %w", ErrAborted, t.bad)
	default:
		return ErrAborted
	}
}

// spoil makes the transaction one that can only be aborted.
func (t *transaction) spoil(err error) {
	if t.open && t.bad == nil && !errors.Is(err, ErrAborted) {
		t.bad = err
	}
}

func (t *transaction) die(err error) {
	if t.dead == nil {
		t.dead = err
	}
}

func (m *machine) fenced(err error) {
	if m.transactional() {
		m.tx.die(err)
	}
}

// initialise claims the transactional id, or gets a producer id: what an earlier
// owner left open is ended.
func (m *machine) initialise(deadline time.Time, now time.Time, done func(error)) *call {
	m.id.asking = true
	c := &call{kind: callInit, pid: -1, epoch: -1, deadline: deadline}
	c.done = func(a answer, err error) {
		m.id.asking = false
		if err == nil {
			err = m.takeIdentity(a)
		}
		done(err)
	}
	m.enqueue(c, now)
	return c
}

func (m *machine) takeIdentity(a answer) error {
	switch classify(a.code) {
	case codeOK:
		m.id.v2 = a.v2 && m.cfg.keeps(ruleEpochEach)
		m.takeEpoch(a)
		return nil
	case codeFenced:
		return codeError(ErrFenced, a.err())
	}
	if a.code == sarama.ErrInvalidProducerIDMapping || a.code == sarama.ErrInvalidTxnState {
		return codeError(ErrUnknown, a.err()) // the coordinator has forgotten us: a new producer starts afresh
	}
	return codeError(ErrFatal, a.err())
}

// takeEpoch takes an id and epoch that no request on its way can have.
func (m *machine) takeEpoch(a answer) {
	m.id.pid, m.id.epoch = a.pid, a.epoch
	m.tx.tainted, m.tx.lost = false, false
}

// begin opens a transaction.
func (m *machine) begin() error {
	switch {
	case m.tx.dead != nil:
		return m.tx.dead
	case m.tx.open:
		return fmt.Errorf("%w: begin within a transaction", ErrState)
	case !m.id.ready():
		return fmt.Errorf("%w: begin before the producer is initialised", ErrState)
	}
	m.tx = transaction{open: true, tainted: m.tx.tainted, lost: m.tx.lost}
	return nil
}

// addPartitions tells the coordinator of partitions that have something to send. In
// transaction version 2 their brokers do, when they get the first batch.
func (m *machine) addPartitions(now time.Time) {
	if !m.transactional() || !m.tx.open || m.tx.refuses() || !m.id.ready() {
		return
	}
	var adding []*partition
	topics := map[string][]int32{}
	for _, pt := range m.parts {
		if len(pt.queue) == 0 || pt.inTxn || pt.adding {
			continue
		}
		if m.id.v2 {
			pt.inTxn, m.tx.started = true, true
		} else {
			pt.adding = true
			adding = append(adding, pt)
			topics[pt.topic] = append(topics[pt.topic], pt.id)
		}
	}
	if len(adding) == 0 {
		return
	}
	m.tx.started = true
	m.enqueue(&call{
		kind: callAdd, pid: m.id.pid, epoch: m.id.epoch, partitions: topics, deadline: now.Add(m.cfg.DeliveryTimeout),
		done: func(a answer, err error) {
			ok := m.judge(a, err)
			for _, pt := range adding {
				pt.adding, pt.inTxn = false, ok
			}
		},
	}, now)
}

// sendOffsets adds positions to the transaction: the group to the transaction at
// its coordinator, then the offsets at the group's. In transaction version 2 the
// second does both.
func (m *machine) sendOffsets(offsets []pipeline.Offset, group pipeline.GroupMetadata, deadline, now time.Time, done func(error)) *call {
	c := &call{kind: callOffsets, pid: m.id.pid, epoch: m.id.epoch, group: group, offsets: offsets, deadline: deadline}
	if err := m.usable(); err != nil {
		done(err)
		return c
	}
	m.tx.started = true
	committed := func(a answer, err error) {
		if !m.judge(a, err) {
			done(m.failure())
			return
		}
		done(nil)
	}
	c.done = func(a answer, err error) {
		if !m.judge(a, err) {
			done(m.failure())
			return
		}
		// One call in two requests: whoever drops the first, drops the second.
		c.kind, c.tries, c.ambiguous, c.done = callCommit, 0, false, committed
		m.calls = append([]*call{c}, m.calls...)
	}
	if m.id.v2 {
		c.kind, c.v2, c.done = callCommit, true, committed
	}
	m.enqueue(c, now)
	return c
}

// verifying reports whether a broker may be asking the coordinator if a partition is
// part of the transaction (KIP-890), as it does with the first batch. It asks one
// thing at a time for each transactional id: positions that it gets meanwhile, which
// it has to ask for as well, make it refuse the batch, and the other way round.
func (m *machine) verifying() bool {
	for _, pt := range m.parts {
		if !pt.verified && len(pt.queue)+len(pt.sent) > 0 {
			return true
		}
	}
	return false
}

// committing reports whether positions are under way: see verifying.
func (m *machine) committing() bool { return m.calling && m.calls[0].kind == callCommit }

// usable reports why a transaction cannot go on, or nil.
func (m *machine) usable() error {
	switch {
	case m.tx.dead != nil:
		return m.tx.dead
	case !m.tx.open:
		return fmt.Errorf("%w: no transaction is open", ErrState)
	case m.tx.bad != nil:
		return m.failure()
	}
	return nil
}

func (m *machine) failure() error {
	if m.tx.dead != nil {
		return m.tx.dead
	}
	if m.tx.bad != nil {
		return fmt.Errorf("%w: %w", ErrAbortable, m.tx.bad)
	}
	return nil
}

// judge takes the end of a call within a transaction and reports success.
func (m *machine) judge(a answer, err error) bool {
	if err != nil {
		m.tx.spoil(err)
		return false
	}
	switch classify(a.code) {
	case codeOK:
		return true
	case codeFenced:
		m.tx.die(codeError(ErrFenced, a.err()))
	case codeFatal:
		m.tx.die(codeError(ErrFatal, a.err()))
	default:
		switch a.code {
		case sarama.ErrInvalidTxnState, sarama.ErrInvalidProducerIDMapping:
			m.tx.die(codeError(ErrUnknown, a.err())) // the coordinator has forgotten us, or ended it by itself
		case sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed:
			m.tx.die(codeError(ErrFatal, a.err()))
		default:
			m.tx.spoil(a.err())
		}
	}
	return false
}

// startAbort lets everything that is not under way fail.
func (m *machine) startAbort() error {
	switch {
	case m.tx.dead != nil:
		return m.tx.dead
	case !m.tx.open:
		return fmt.Errorf("%w: no transaction is open", ErrState)
	}
	m.tx.aborting = true
	return nil
}

// end ends the transaction, of which nothing is under way any more.
func (m *machine) end(commit bool, deadline, now time.Time, done func(error)) *call {
	c := &call{kind: callEnd, pid: m.id.pid, epoch: m.id.epoch, v2: m.id.v2, commit: commit, deadline: deadline}
	switch {
	case m.tx.dead != nil:
		done(m.tx.dead)
		return c
	case !m.tx.open:
		done(fmt.Errorf("%w: no transaction is open", ErrState))
		return c
	case commit && m.tx.bad != nil:
		done(m.failure())
		return c
	case !m.tx.started:
		m.ended(deadline, now, done)
		return c
	}
	c.done = func(a answer, err error) {
		switch {
		case err != nil && !c.ambiguous && !commit:
			m.tx.die(fmt.Errorf("%w: %w", ErrUnknown, err))
		case err != nil && !c.ambiguous: // never sent: it can still be aborted
			m.tx.spoil(err)
			done(m.failure())
			return
		case err != nil:
			m.tx.die(err)
		case a.code == sarama.ErrNoError:
			if c.v2 {
				m.takeEpoch(a)
			}
			m.ended(deadline, now, done)
			return
		case classify(a.code) == codeFenced:
			m.tx.die(codeError(ErrFenced, a.err()))
		case classify(a.code) == codeFatal:
			m.tx.die(codeError(ErrFatal, a.err()))
		default:
			m.tx.die(codeError(ErrUnknown, a.err()))
		}
		done(m.tx.dead)
	}
	m.enqueue(c, now)
	return c
}

// ended closes the books of a transaction. If a copy of one of its requests may
// still be on its way, the epoch is raised first: a late EndTxn would end the
// next transaction (KAFKA-17754), a late batch become part of it: rule 3. In
// transaction version 2 every end raises it.
func (m *machine) ended(deadline, now time.Time, done func(error)) {
	for _, pt := range m.parts {
		pt.inTxn, pt.verified, pt.hole, pt.renumber = false, false, false, false
		pt.calm()
	}
	t := m.tx
	m.tx = transaction{tainted: t.tainted, lost: t.lost}
	if (t.tainted || t.lost) && m.cfg.keeps(ruleRaise) {
		m.raise(now)
	}
	done(nil)
}

// raise asks for the next epoch of the same id. Nothing is sent before it is
// there; Begin waits for it.
func (m *machine) raise(now time.Time) {
	m.id.asking = true
	m.stats.bumps.Add(1)
	m.enqueue(&call{kind: callBump, pid: m.id.pid, epoch: m.id.epoch, done: func(a answer, err error) {
		m.id.asking = false
		if err == nil {
			err = m.takeIdentity(a)
		}
		if err != nil {
			m.tx.die(err)
		}
		for _, wake := range m.onIdentity {
			wake()
		}
		m.onIdentity = nil
	}}, now)
}
