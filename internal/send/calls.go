package send

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/secure"
)

// enqueue has a call made after those before it. Coordinator calls are made one at
// a time: their order is part of their meaning.
func (m *machine) enqueue(c *call, _ time.Time) {
	c.dropped = c.dropped || m.closing // nobody will wait for it
	m.calls = append(m.calls, c)
}

// nextCall makes the first call of the queue, if none is under way and its time
// has come.
func (m *machine) nextCall(now time.Time) (next time.Time) {
	for len(m.calls) > 0 {
		c := m.calls[0]
		switch {
		case m.sweep(now):
		case m.calling:
			return m.firstDeadline()
		case c.kind == callAdd && m.tx.aborting: // the abort would wait for it
			m.endCall(c, answer{}, ErrAborted)
		case m.callAt.After(now):
			return earlier(m.callAt, m.firstDeadline())
		case c.kind == callCommit && m.verifying():
			if !m.addFirst() {
				return m.firstDeadline()
			}
		default:
			c.tries++
			m.calling = true
			m.stats.calls.Add(1)
			m.w.call(c)
		}
	}
	return next
}

// sweep ends a call that is not under way and that nobody waits for any more, or whose
// time is over, wherever it stands: what is before it may be tried for long.
func (m *machine) sweep(now time.Time) (ended bool) {
	for i, c := range m.calls {
		cause := context.Canceled
		switch {
		case i == 0 && m.calling:
			continue
		case c.dropped:
		case !c.deadline.IsZero() && !c.deadline.After(now):
			cause = context.DeadlineExceeded
		default:
			continue
		}
		m.calls = slices.Delete(m.calls, i, i+1)
		c.done(answer{}, m.gaveUp(c, cause))
		return true
	}
	return false
}

// firstDeadline is the first of all calls', zero if none has one.
func (m *machine) firstDeadline() (first time.Time) {
	for _, c := range m.calls {
		first = earlier(first, c.deadline)
	}
	return first
}

// addFirst has partitions added before the call that waits for them.
func (m *machine) addFirst() bool {
	i := slices.IndexFunc(m.calls, func(c *call) bool { return c.kind == callAdd })
	if i < 0 {
		return false
	}
	add := m.calls[i]
	m.calls = slices.Insert(slices.Delete(m.calls, i, i+1), 0, add)
	return true
}

// overdue breaks the call under way when its time is over.
func (m *machine) overdue(now time.Time) {
	if !m.calling {
		return
	}
	c := m.calls[0]
	if c.dropped || !c.deadline.IsZero() && !c.deadline.After(now) {
		m.w.dropCall(c)
	}
}

// called takes the outcome of the call under way. An error says nothing about
// what the broker did or will do: the call is ambiguous from then on, and it is
// repeated unchanged: rule 6.
func (m *machine) called(c *call, a answer, err error, now time.Time) {
	m.calling = false
	c.rediscover = false
	if err != nil {
		m.log.Debug("coordinator call failed", "call", c.kind, "error", err)
		if c.kind == callEnd && !m.cfg.keeps(ruleRepeatEnd) {
			m.endCall(c, answer{}, err)
			return
		}
		if secure.Refused(err) && !c.patient { // this attempt was not sent
			m.callAt = time.Time{}
			m.endCall(c, answer{}, m.refused(c, err))
			return
		}
		c.ambiguous = true
		m.tx.tainted = true
		c.rediscover = true
		m.callAt = now.Add(m.backoff(c.tries - 1))
		m.stats.callRetries.Add(1)
		return
	}
	switch cl := classify(a.code); cl {
	case codeRetry, codeCoordinator, codeLeader:
		c.rediscover = cl == codeCoordinator
		m.callAt = now.Add(m.pause(c.tries-1, a.code))
		m.stats.callRetries.Add(1)
	default:
		m.callAt = time.Time{}
		m.endCall(c, a, nil)
	}
}

func (m *machine) endCall(c *call, a answer, err error) {
	m.calls = m.calls[1:]
	c.done(a, err)
}

// refused is the error of a call that the cluster does not let us make.
func (m *machine) refused(c *call, err error) error {
	err = codeError(ErrFatal, err)
	if c.ambiguous && c.kind == callEnd { // an earlier attempt may have been executed
		return codeError(ErrUnknown, err)
	}
	return err
}

// gaveUp is the error of a call that had no definite answer in its time. Only of
// EndTxn does the transaction's outcome depend.
func (m *machine) gaveUp(c *call, cause error) error {
	if c.ambiguous && c.kind == callEnd {
		return fmt.Errorf("%w: %v was sent and not answered: %w", ErrUnknown, c.kind, cause)
	}
	return fmt.Errorf("%v: %w", c.kind, cause)
}
