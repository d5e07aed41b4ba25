package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy says what becomes of a record whose stage returned an error. Errors
// marked with [Retriable] or [Fatal] never reach it.
type Policy struct {
	action  action
	retries int
	backoff Backoff
}

type action uint8

const (
	actionFail action = iota
	actionDeadLetter
	actionSkip
	actionRetryLater
)

// The policies. Fail is the zero value and the default.
var (
	// Fail stops the pipeline with a [StageError]. Nothing of the record is
	// committed, so that it is processed again at the next start.
	Fail = Policy{}
	// ToDeadLetter drops what the record's chain has put out and writes the raw
	// record to the pipeline's dead-letter topic, in the same transaction.
	ToDeadLetter = Policy{action: actionDeadLetter}
	// Skip drops the record and what its chain has put out; Stats counts it.
	Skip = Policy{action: actionSkip}
	// RetryLater drops what the record's chain has put out and writes the raw record
	// to the next retry topic of its input, in the same transaction: it is processed
	// again when that topic's delay is over, and nothing waits for it meanwhile. After
	// the last retry topic it becomes a dead letter. See [RetryTopics].
	RetryLater = Policy{action: actionRetryLater}
)

// Retry runs the failing function again, at most n more times with the backoff
// between, and then applies another policy. Panics are not retried. Only the
// function is run again, not the stages before it.
func Retry(n int, b Backoff, then Policy) Policy {
	return Policy{action: then.action, retries: n, backoff: b}
}

// String returns the policy as the topology drawing shows it.
func (p Policy) String() string {
	s := [...]string{"fail", "dead-letter", "skip", "retry-later"}[p.action]
	if p.retries > 0 {
		return fmt.Sprintf("retry %d, then %s", p.retries, s)
	}
	return s
}

func (p Policy) validate() error {
	if p.retries < 0 {
		return fmt.Errorf("Retry of %d times; use 0 or more", p.retries)
	}
	return p.backoff.validate()
}

// longest is the longest time that the policy's waits can take together.
func (p Policy) longest() time.Duration {
	var sum time.Duration
	for i := range p.retries {
		sum += p.backoff.ceiling(i)
	}
	return sum
}

// Backoff is the wait between tries: Initial after the first, doubling up to
// Max, each with a random part so that workers do not try in step.
type Backoff struct {
	// Initial is the first wait. Default 100 ms, Kafka's retry.backoff.ms.
	Initial time.Duration
	// Max bounds a single wait. Default 1 s, Kafka's retry.backoff.max.ms.
	Max time.Duration
}

const (
	defaultBackoffInitial = 100 * time.Millisecond
	defaultBackoffMax     = time.Second
	backoffJitter         = 0.2 // Kafka's
)

func (b Backoff) validate() error {
	if b.Initial < 0 || b.Max < 0 {
		return errors.New("a Backoff must not be negative")
	}
	return nil
}

// Wait returns the wait after try number i, counted from 0.
func (b Backoff) Wait(i int) time.Duration {
	c := b.ceiling(i)
	return time.Duration(float64(c) * (1 - backoffJitter*rand.Float64()))
}

func (b Backoff) ceiling(i int) time.Duration {
	initial, limit := b.Initial, b.Max
	if initial == 0 {
		initial = defaultBackoffInitial
	}
	if limit == 0 {
		limit = max(defaultBackoffMax, initial)
	}
	d := initial
	for ; i > 0 && d < limit; i-- {
		d *= 2
	}
	return min(d, limit)
}
