package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// handler is the group's side of the worker: it turns sarama's sessions and
// claims into the worker's.
type handler struct {
	s    *Source
	w    *pipeline.Worker
	fail context.CancelCauseFunc

	sessions atomic.Int64
	active   atomic.Bool // between Setup and the end of Cleanup
	current  atomic.Pointer[session]
	left     chan struct{} // closed: the group's client is
}

// errFailed wraps what ended the source by itself.
type errFailed struct{ error }

func (e errFailed) Unwrap() error { return e.error }

// outcome is nil if the caller ended ctx, else what the handler failed with.
func (h *handler) outcome(ctx context.Context) error {
	if f, ok := errors.AsType[errFailed](context.Cause(ctx)); ok {
		return f.error
	}
	return nil
}

// watch reads the group's errors. Most pass; a position outside the log does not.
func (h *handler) watch(errs <-chan error) {
	for err := range errs {
		switch {
		case errors.Is(err, sarama.ErrOffsetOutOfRange):
			h.fail(errFailed{pipeline.Fatal(fmt.Errorf(
				"group %q: the committed position is no longer in the log, records have been lost; reset the group's offsets, or set ResetOutOfRange to go on from Start: %w", h.s.cfg.Group, err))})
		case isFatal(err):
			h.fail(errFailed{pipeline.Fatal(fmt.Errorf("group %q: %w", h.s.cfg.Group, err))})
		default:
			h.s.cfg.Logger.Debug("consumer group", "group", h.s.cfg.Group, "error", err)
		}
	}
}

// Setup begins a session.
func (h *handler) Setup(sess sarama.ConsumerGroupSession) error {
	h.active.Store(true)
	h.sessions.Add(1)
	current := &session{h.s, sess}
	h.current.Store(current)
	h.w.Begin(current)
	return nil
}

// Cleanup ends it, after all claims have been released and with heartbeats still
// going.
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error {
	h.w.End()
	h.current.Store(nil)
	h.active.Store(false)
	return nil
}

// ConsumeClaim feeds one partition until it is revoked or the worker has enough.
// It returns only when nothing of the partition will be committed any more.
func (h *handler) ConsumeClaim(sess sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	part := pipeline.Partition{Topic: claim.Topic(), Partition: claim.Partition()}
	c, err := h.w.Claim(part, claim.InitialOffset())
	if err != nil {
		h.fail(errFailed{err})
		return err
	}
	defer c.Release()
	f := &feed{claim: claim, sess: sess, generation: sess.GenerationID(), keys: internTable{}}
	for {
		m, ok := f.next(c.Done())
		if !ok {
			return nil
		}
		b := c.NewBatch()
		f.fill(b, m)
		if !f.deliver(c, b) {
			return nil
		}
	}
}

// feed is the records of a claim on their way to the worker.
type feed struct {
	claim sarama.ConsumerGroupClaim
	sess  sarama.ConsumerGroupSession
	keys  internTable

	generation int32 // as of the last look
	suspect    bool  // there was a rebalance since, which may have ended the claim

	early []*sarama.ConsumerMessage // taken from the channel before their time
	ended bool                      // the channel is closed
}

// next waits for a record. It is false when there will be none.
func (f *feed) next(done <-chan struct{}) (m *sarama.ConsumerMessage, ok bool) {
	if len(f.early) > 0 {
		m, f.early = f.early[0], f.early[1:]
		return m, true
	}
	if f.ended {
		return nil, false
	}
	select {
	case m, ok = <-f.claim.Messages():
	case <-done:
	}
	f.ended = !ok
	return m, ok
}

// fill takes what is at hand.
func (f *feed) fill(b *pipeline.Batch, m *sarama.ConsumerMessage) {
	for {
		add(b, m, f.claim.Topic(), f.keys)
		if b.Full() {
			return
		}
		if len(f.early) > 0 {
			m, f.early = f.early[0], f.early[1:]
			continue
		}
		var ok bool
		select {
		case m, ok = <-f.claim.Messages():
			if !ok {
				f.ended = true
				return
			}
		default:
			return
		}
	}
}

const (
	deliverPoll = 100 * time.Millisecond
	// peekRecords is how many records are taken from a claim at a look, and
	// maxEarly how many in all, to see whether it has ended behind them.
	peekRecords = 256
	maxEarly    = 1024
)

// deliver hands a batch over. While the chain is busy it looks whether the
// partition is being taken away: sarama shows that only by closing the channel,
// behind the records that are still in it, and holds the whole group up until the
// claim has returned.
func (f *feed) deliver(c *pipeline.Claim, b *pipeline.Batch) bool {
	for {
		taken, open := c.TryDeliver(b, deliverPoll)
		if taken || !open {
			return open
		}
		if now := f.sess.GenerationID(); now != f.generation {
			f.generation, f.suspect = now, true
		}
		if f.suspect {
			f.peek()
		}
		if f.ended || f.sess.Context().Err() != nil {
			return false
		}
	}
}

// peek takes what the channel holds, to get to its end if it has one. A claim that
// has ended is given no more; one that goes on fills up what may be taken.
func (f *feed) peek() {
	for range peekRecords {
		if len(f.early) >= maxEarly {
			f.suspect = false
			return
		}
		select {
		case m, ok := <-f.claim.Messages():
			if !ok {
				f.ended = true
				return
			}
			f.early = append(f.early, m)
		default:
			return
		}
	}
}

func add(b *pipeline.Batch, m *sarama.ConsumerMessage, topic string, keys internTable) {
	r := pipeline.Raw{
		Key: m.Key, Value: m.Value, Timestamp: m.Timestamp,
		Origin: pipeline.Origin{Topic: topic, Partition: m.Partition, Offset: m.Offset},
	}
	b.Bytes += len(m.Key) + len(m.Value)
	if len(m.Headers) > 0 {
		r.Headers = make(pipeline.Headers, len(m.Headers))
		for i, h := range m.Headers {
			r.Headers[i] = pipeline.Header{Key: keys.string(h.Key), Value: h.Value}
			b.Bytes += len(h.Key) + len(h.Value)
		}
	}
	b.Records = append(b.Records, r)
}

// internTable keeps header keys as strings: a topic has few of them.
type internTable map[string]string

const maxInterned = 256

func (t internTable) string(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t) < maxInterned {
		t[s] = s
	}
	return s
}

// session is sarama's session as the worker sees it.
type session struct {
	s    *Source
	sess sarama.ConsumerGroupSession
}

// Group reads member id and generation anew: with cooperative assignment they
// change inside the session.
func (s *session) Group() pipeline.GroupMetadata {
	m := pipeline.GroupMetadata{
		Group: s.s.cfg.Group, Member: s.sess.MemberID(), Instance: s.s.cfg.Instance, Generation: s.sess.GenerationID(),
	}
	s.s.mu.Lock()
	s.s.last = m
	s.s.mu.Unlock()
	return m
}

// CommitOffsets commits on a connection of its own: the group's may be in a long
// poll.
func (s *session) CommitOffsets(ctx context.Context, offsets []pipeline.Offset) error {
	err := s.s.client.Commit(ctx, s.Group(), offsets)
	if errors.Is(err, sarama.ErrRebalanceInProgress) || errors.Is(err, sarama.ErrIllegalGeneration) {
		return pipeline.Retriable(err) // if the membership is lost, sarama ends the session
	}
	return err
}
