package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// RetryInOrder is [RetryTopics] that keep the order of each key: while a record waits to be
// retried, later ones of its key from the same partition go behind it instead of being
// processed. Those of other keys go on, and so do those without a key, which have no order
// to keep.
//
// There is one retry topic, named for the input's: orders.retry. A partition of it retries
// its head in place, after each delay in turn, and goes on when that has come through or has
// become a dead letter: what is behind the head waits, of whatever key. Which keys wait is
// known by a second topic, orders.retry.marks, which must be compacted
// (cleanup.policy=compact) and is written in the same transactions. The number of
// partitions of neither may change while something waits.
//
// It costs a look-up for each record while anything of its partition waits, and a start of a
// partition that takes until the marks have been read. It needs a source that is a
// [TableCatcher]. Stages that hold records (EnrichAsync, Parallel, Batch) do not keep such
// an order: with one of them the pipeline fails with [ErrOrder]. At least once, a replay
// after a failure may repeat records out of order.
func RetryInOrder(delays ...time.Duration) StageOption { return RetryInOrderTopics("", "", delays...) }

// RetryInOrderTopics is [RetryInOrder] with topics of any names, one for what is to be retried and
// one for the marks. An empty name stands for that which RetryInOrder gives.
func RetryInOrderTopics(topic, marks string, delays ...time.Duration) StageOption {
	return stageOptionFunc(func(c *stageConfig) {
		if len(delays) == 0 {
			c.mistake = errors.New("RetryInOrder without a delay; give one for each retry")
			return
		}
		c.order = &order{delays: delays, topic: topic, marks: marks}
		c.retries = append(c.retries, retryTopic{delay: delays[0]})
	})
}

// order is what an input that is retried in order has beside its one retry topic.
type order struct {
	delays []time.Duration
	topic  string // or empty, for the input's name with .retry
	marks  string // topic
}

// markTopics are those of all inputs.
func (p *Pipeline) markTopics() (all []string) {
	for _, n := range p.nodes {
		if n.kind == kindInput && n.cfg.order != nil {
			all = append(all, n.cfg.order.marks)
		}
	}
	return all
}

// errAgain says that a record of a retry topic is to be processed again in its place.
type errAgain struct{ after time.Duration }

func (e *errAgain) Error() string { return fmt.Sprintf("to be tried again in %v", e.after) }

var errBehind = errors.New("not tried: it is behind an earlier record of its key")

// queuesUp is for each record of an input that is retried in order, before its chain. It reports
// whether that is all.
func (t *Task) queuesUp(r *Raw) (done bool, err error) {
	if t.line == nil {
		if r.Origin.Offset != t.triedAt {
			t.tries, t.triedAt = 0, r.Origin.Offset
		}
		return false, nil
	}
	done, err = t.behind(r)
	if done && err == nil {
		t.settled(r)
	}
	return done, err
}

// behind stages a record for the retry topic if an earlier one of its key waits there. It
// reports whether it did.
func (t *Task) behind(r *Raw) (bool, error) {
	if r.Key == nil || !t.line.waits(r.Key) {
		return false, nil
	}
	se := &StageError{Pipeline: t.p.name, Stage: t.input.name, Origin: r.Origin, Err: errBehind}
	now := retryTopic{topic: t.later.topic} // it was not tried: it need not wait
	o, err := t.dead.retry(&now, r.Origin, r, 0, se, t.maxRecord)
	if err != nil {
		return true, err
	}
	t.staged = append(t.staged, o)
	t.counts.behind++
	t.lineUp(r)
	return true, nil
}

// lineUp makes the records of a key wait for one that is to be retried.
func (t *Task) lineUp(r *Raw) {
	if r.Key == nil {
		return
	}
	t.staged = append(t.staged, Output{
		Topic: t.input.cfg.order.marks, Key: markKey(r.Origin), Value: r.Key, Timestamp: r.Timestamp, Origin: r.Origin,
	})
	t.line.add(r.Origin.Offset, r.Key)
}

// leaveLine is for a record of the retry topic that is done.
func (t *Task) leaveLine(r *Raw) {
	if r.Key == nil {
		return
	}
	was, _ := asItWas(r)
	if was.Origin.Topic != t.input.topics[0] { // written by somebody else
		return
	}
	t.staged = append(t.staged, Output{Topic: t.input.cfg.order.marks, Key: markKey(was.Origin), Timestamp: was.Timestamp, Origin: r.Origin})
	t.mark = len(t.staged) // it is no output
}

// retryInPlace is for a record of the retry topic that has failed.
func (t *Task) retryInPlace(r *Raw, se *StageError) error {
	delays := t.input.cfg.order.delays
	_, tried := t.first(r)
	if tried >= len(delays) {
		return t.deadLetter(r, se)
	}
	t.tries++
	t.laterAt(se.Stage)
	return &errAgain{after: delays[tried]}
}

// inLine reports an error if a stage holds a record whose order is to be kept: what follows it may
// have come through when it fails.
func (t *Task) inLine(r *Raw) error {
	if t.held == nil && len(t.flight) == 0 {
		return nil
	}
	return &StageError{Pipeline: t.p.name, Stage: t.stageName(t.holder), Origin: r.Origin, Err: Fatal(ErrOrder)}
}
