package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The headers of a dead letter: which pipeline and stage refused the record, why,
// and where it came from. Numbers are decimal text; the timestamp is the
// record's, in milliseconds since 1970. Headers of these names that the record
// already has are replaced; all others are kept in order. Of a record that was retried
// later, topic, partition and offset are those of the input, where it stood first, and
// [HeaderRetryAttempt] is there, too.
const (
	HeaderPipeline  = "leat.pipeline"
	HeaderStage     = "leat.stage"
	HeaderError     = "leat.error"
	HeaderTopic     = "leat.topic"
	HeaderPartition = "leat.partition"
	HeaderOffset    = "leat.offset"
	HeaderTimestamp = "leat.timestamp"
)

// maxErrorHeader bounds leat.error in bytes, so that a long error does not make
// the dead letter too large.
const maxErrorHeader = 2048

// deadLetter stages the raw record for the dead-letter topic.
func (t *Task) deadLetter(r *Raw, se *StageError) error {
	was, attempt := t.first(r)
	o, err := t.dead.letter(t.p.deadLetter, r.Origin, &was, attempt, se, t.maxRecord)
	if err != nil {
		return err
	}
	t.staged = append(t.staged, o)
	t.counts.deadLetters++
	if t.observe {
		t.letters = append(t.letters, DeadLettered{At: time.Now(), Stage: se.Stage, Err: se.Err, Record: was})
	}
	return nil
}

// letter makes the dead letter of a record and counts it, or says why there must
// not be one. The record is given as it stood at first; origin is where it stands now.
// A maxRecord of 0 sets no bound.
func (m *deadLetterMeter) letter(topic string, origin Origin, r *Raw, attempt int, se *StageError, maxRecord int) (Output, error) {
	headers := r.Headers.Del(ownHeaders[:]...)
	o := Output{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Origin: origin, Headers: appendFailure(headers, r, se)}
	if attempt > 0 {
		o.Headers = append(o.Headers, Header{HeaderRetryAttempt, strconv.AppendInt(nil, int64(attempt), 10)})
	}
	if err := m.fits(&o, se, ErrDeadLetterTooLarge, maxRecord); err != nil {
		return o, err
	}
	if !m.allow(time.Now()) {
		return o, &StageError{
			Pipeline: se.Pipeline, Stage: se.Stage, Origin: se.Origin,
			Err: fmt.Errorf("%w (%d); the last one's reason: %w", ErrDeadLetterLimit, m.limit, se.Err),
		}
	}
	m.count(m.byStage, se.Stage)
	return o, nil
}

// retry makes the record for a retry topic in the way of letter.
func (m *deadLetterMeter) retry(to *retryTopic, origin Origin, r *Raw, attempt int, se *StageError, maxRecord int) (Output, error) {
	headers := make(Headers, len(r.Headers), len(r.Headers)+len(ownHeaders))
	copy(headers, r.Headers)
	headers = append(appendFailure(headers, r, se),
		Header{HeaderRetryAttempt, strconv.AppendInt(nil, int64(attempt), 10)},
		Header{HeaderRetryDue, strconv.AppendInt(nil, time.Now().Add(to.delay).UnixMilli(), 10)},
	)
	o := Output{Topic: to.topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Origin: origin, Headers: headers}
	if err := m.fits(&o, se, ErrRetryTooLarge, maxRecord); err != nil {
		return o, err
	}
	return o, nil
}

// fits has the sink's interceptors see what takes a record's place, and says whether it may be
// written.
func (m *deadLetterMeter) fits(o *Output, se *StageError, tooLarge error, maxRecord int) error {
	if err := m.show(o); err != nil {
		return &StageError{Pipeline: se.Pipeline, Stage: se.Stage, Origin: se.Origin, Err: err}
	}
	if size := o.Size(); maxRecord > 0 && size > maxRecord {
		return &StageError{
			Pipeline: se.Pipeline, Stage: se.Stage, Origin: se.Origin,
			Err: fmt.Errorf("%w: %d bytes for topic %q, more than MaxRequestSize (%d); its reason: %w", tooLarge, size, o.Topic, maxRecord, se.Err),
		}
	}
	return nil
}

// show has the sink's interceptors see a dead letter, or a record that is retried later.
func (m *deadLetterMeter) show(o *Output) error {
	if m.intercept == nil {
		return nil
	}
	out := NewOutgoing(context.Background(), o.Key, o.Value, nil)
	out.Topic, out.Headers, out.Timestamp, out.topics = o.Topic, slices.Clip(o.Headers), o.Timestamp, []string{o.Topic}
	m.intercept(out)
	o.Headers, o.Timestamp = out.Headers, out.Timestamp
	return out.Check()
}

// appendFailure appends the headers of a dead letter. r's Origin is where the record stood first.
func appendFailure(h Headers, r *Raw, se *StageError) Headers {
	return append(h,
		Header{HeaderPipeline, []byte(se.Pipeline)},
		Header{HeaderStage, []byte(se.Stage)},
		Header{HeaderError, []byte(clip(se.Err.Error(), maxErrorHeader))},
		Header{HeaderTopic, []byte(r.Origin.Topic)},
		Header{HeaderPartition, strconv.AppendInt(nil, int64(r.Origin.Partition), 10)},
		Header{HeaderOffset, strconv.AppendInt(nil, r.Origin.Offset, 10)},
		Header{HeaderTimestamp, strconv.AppendInt(nil, r.Timestamp.UnixMilli(), 10)},
	)
}

// clip cuts s to n bytes at a character's edge.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD")
}

// deadLetterMeter makes the dead letters of one run and what goes to its retry topics, and
// counts them by stage, dead letters also against the limit per minute. All tasks of the
// run share it.
type deadLetterMeter struct {
	limit     int
	intercept func(*Outgoing) // or nil

	mu      sync.Mutex
	recent  []time.Time // at most limit of them, oldest first
	byStage map[string]int64
	later   map[string]int64 // records for retry topics, by stage
}

func newDeadLetterMeter(limit int, intercept func(*Outgoing)) *deadLetterMeter {
	return &deadLetterMeter{limit: limit, intercept: intercept, byStage: map[string]int64{}, later: map[string]int64{}}
}

func (m *deadLetterMeter) allow(now time.Time) bool {
	if m.limit <= 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.recent) > 0 && now.Sub(m.recent[0]) >= time.Minute {
		m.recent = m.recent[1:]
	}
	if len(m.recent) >= m.limit {
		return false
	}
	m.recent = append(m.recent, now)
	return true
}

func (m *deadLetterMeter) count(of map[string]int64, stage string) {
	m.mu.Lock()
	of[stage]++
	m.mu.Unlock()
}
