package pipeline

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
)

// The headers of a record in a retry topic, beside those of a dead letter, which name
// the place where the record stood first, and the stage and the error of its last try.
// They stand at the end, in the place of those of the try before. Numbers are decimal text.
const (
	// HeaderRetryAttempt is the number of the retry that comes, from 1. A dead letter
	// has it, too, if there were retries: the number of the last one.
	HeaderRetryAttempt = "leat.retry.attempt"
	// HeaderRetryDue is when it is due, in milliseconds since 1970, by the clock of
	// who has written it.
	HeaderRetryDue = "leat.retry.due"
)

// RetryTopics gives an input retry topics, one for each delay, in this order: a record
// that fails under [RetryLater] goes to the first, from there to the second, and after
// the last to the dead letters. They are named for the input's topic and the delay:
// orders.retry.1m, orders.retry.1h30m. They must exist, with any number of partitions,
// and with a retention that is longer than the delay and the age of the records, since
// these keep their timestamps.
//
// Retry topics are further topics of the input: the same serde, the same chain. Each of
// their partitions waits until its next record is due; a record waits at most the delay,
// whatever the clock of who wrote it said. What a partition waits for is due later than
// all before it, and nothing else waits: what is finished is committed, and partitions
// move and stop at once.
//
// A stage is given the record as it was at first: key, value, timestamp and headers. Only
// Origin is the place in the retry topic; [RetryOf] has the first one. Records lose
// their order: those behind the one that failed go on.
//
// It is for inputs only. See docs/retries.md.
func RetryTopics(delays ...time.Duration) StageOption {
	return stageOptionFunc(func(c *stageConfig) {
		if len(delays) == 0 {
			c.mistake = errNoDelays
		}
		for _, d := range delays {
			c.retries = append(c.retries, retryTopic{delay: d})
		}
	})
}

// RetryTopic is [RetryTopics] for one topic of any name. Given several times, or with
// RetryTopics, the topics are used in the order of the options.
func RetryTopic(topic string, delay time.Duration) StageOption {
	return stageOptionFunc(func(c *stageConfig) {
		c.retries = append(c.retries, retryTopic{topic: topic, delay: delay, named: true})
	})
}

// retryTopic is one of an input.
type retryTopic struct {
	topic string
	delay time.Duration
	named bool
}

// nameRetries names an input's retry topics after it.
func (n *node) nameRetries() {
	if o := n.cfg.order; o != nil {
		if len(n.cfg.retries) > 1 {
			n.p.mistake("input %q: RetryInOrder has a retry topic of its own; leave the others out", n.name)
		}
		n.cfg.retries = []retryTopic{{topic: cmp.Or(o.topic, n.topics[0]+".retry"), delay: o.delays[0], named: true}}
		o.marks = cmp.Or(o.marks, n.topics[0]+".retry.marks")
	}
	for i := range n.cfg.retries {
		if r := &n.cfg.retries[i]; !r.named {
			r.topic = n.topics[0] + ".retry." + delayName(r.delay)
		}
	}
}

// delayName is 1m for what String calls 1m0s.
func delayName(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// tier returns the number of one of an input's topics among its retry topics, -1 for its own
// topic; ok is false if it is neither.
func (n *node) tier(topic string) (i int, ok bool) {
	if n.topics[0] == topic {
		return -1, true
	}
	for i, r := range n.cfg.retries {
		if r.topic == topic {
			return i, true
		}
	}
	return 0, false
}

// retryTopics are those of all inputs.
func (p *Pipeline) retryTopics() (all []string) {
	for _, n := range p.nodes {
		if n.kind == kindInput {
			for _, r := range n.cfg.retries {
				all = append(all, r.topic)
			}
		}
	}
	return all
}

// Retried says of a record that it has come by a retry topic.
type Retried struct {
	// Attempt is the number of the retry, from 1; 0 for a record that was not tried before but
	// had to wait behind another of its key (see [RetryInOrder]).
	Attempt int
	// First is where the record stood in its input. It stays the same from retry to retry,
	// where Record.Origin does not: use it as the idempotency key for side effects.
	First Origin
}

type retriedKey struct{}

// RetryOf returns what is known of the retry that is under way; it is false if the record has
// come by the input's own topic. ctx is the one that the function of a stage, a serde or
// a middleware was given for the record.
func RetryOf(ctx context.Context) (r Retried, ok bool) {
	r, ok = ctx.Value(retriedKey{}).(Retried)
	return r, ok
}

// retried makes the chain one that is given the records of a retry topic as they were.
func (t *Task) retried(chain Handler) Handler {
	return func(ctx context.Context, r *Raw) error {
		was, of := asItWas(r)
		of.Attempt += t.tries
		was.Origin = r.Origin
		return chain(context.WithValue(ctx, retriedKey{}, of), &was)
	}
}

// ownHeaders are those that a record in a retry topic has of us.
var ownHeaders = [...]string{
	HeaderPipeline, HeaderStage, HeaderError, HeaderTopic, HeaderPartition, HeaderOffset, HeaderTimestamp, HeaderRetryAttempt, HeaderRetryDue,
}

// asItWas is a record of a retry topic as it stood in its input, with its place there. Of each of our
// headers the last one is ours: the record may have had such headers before, if its input
// holds dead letters for instance. What somebody else has written there is taken as it is.
func asItWas(r *Raw) (was Raw, of Retried) {
	var own [len(ownHeaders)]string
	var found [len(ownHeaders)]bool
	kept := make(Headers, len(r.Headers))
	first := len(kept)
next:
	for i := len(r.Headers) - 1; i >= 0; i-- {
		for j, name := range ownHeaders {
			if r.Headers[i].Key == name && !found[j] {
				own[j], found[j] = string(r.Headers[i].Value), true
				continue next
			}
		}
		first--
		kept[first] = r.Headers[i]
	}
	was = *r
	was.Headers = kept[first:]
	partition, err1 := strconv.ParseInt(own[4], 10, 32)
	offset, err2 := strconv.ParseInt(own[5], 10, 64)
	if own[3] != "" && err1 == nil && err2 == nil {
		was.Origin = Origin{Topic: own[3], Partition: int32(partition), Offset: offset}
	}
	if ms, err := strconv.ParseInt(own[6], 10, 64); err == nil {
		was.Timestamp = time.UnixMilli(ms) // the topic's may be that of the append
	}
	attempt, err := strconv.ParseInt(own[7], 10, 32)
	if err != nil || attempt < 0 {
		attempt = 1
	}
	return was, Retried{Attempt: int(attempt), First: was.Origin}
}

// first is a record as it stood in its input, and how often it was retried.
func (t *Task) first(r *Raw) (was Raw, attempt int) {
	if t.delay == 0 {
		return *r, 0
	}
	was, of := asItWas(r)
	return was, of.Attempt + t.tries
}

// DueIn returns how long a record must wait before it is processed, which is up to the
// caller: 0 for one that does not come by a retry topic. It is at most the topic's delay.
func (t *Task) DueIn(r *Raw, now time.Time) time.Duration {
	if t.delay == 0 || t.tries > 0 && r.Origin.Offset == t.triedAt {
		return 0
	}
	due, ok := r.Headers.Get(HeaderRetryDue)
	if !ok {
		return 0
	}
	ms, err := strconv.ParseInt(string(due), 10, 64)
	if err != nil {
		return 0
	}
	return min(max(time.UnixMilli(ms).Sub(now), 0), t.delay)
}

// laterAt counts a record that is retried later.
func (t *Task) laterAt(stage string) {
	t.counts.retriedLater++
	t.dead.count(t.dead.later, stage)
}

// retryLater stages the raw record for the next retry topic, or for the dead letters.
func (t *Task) retryLater(r *Raw, se *StageError) error {
	switch {
	case t.later != nil:
	case t.ordered:
		return t.retryInPlace(r, se)
	default:
		return t.deadLetter(r, se)
	}
	was, attempt := t.first(r)
	o, err := t.dead.retry(t.later, r.Origin, &was, attempt+1, se, t.maxRecord)
	if err != nil {
		return err
	}
	t.staged = append(t.staged, o)
	t.laterAt(se.Stage)
	if t.line != nil {
		t.lineUp(r)
	}
	return nil
}
