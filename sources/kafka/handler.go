package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

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
	active   atomic.Bool   // between Setup and the end of Cleanup
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
	h.w.Begin(&session{h.s, sess})
	return nil
}

// Cleanup ends it, after all claims have been released and with heartbeats still
// going.
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error {
	h.w.End()
	h.active.Store(false)
	return nil
}

// ConsumeClaim feeds one partition until it is revoked or the worker has enough.
// It returns only when nothing of the partition will be committed any more.
func (h *handler) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	part := pipeline.Partition{Topic: claim.Topic(), Partition: claim.Partition()}
	c, err := h.w.Claim(part, claim.InitialOffset())
	if err != nil {
		h.fail(errFailed{err})
		return err
	}
	defer c.Release()
	keys := internTable{}
	for {
		var m *sarama.ConsumerMessage
		var ok bool
		select {
		case m, ok = <-claim.Messages():
		case <-c.Done():
		}
		if !ok {
			return nil
		}
		b := c.NewBatch()
		ok = fill(b, m, claim.Messages(), part.Topic, keys)
		if !c.Deliver(b) || !ok {
			return nil
		}
	}
}

// fill takes what is at hand and reports whether the channel is still open.
func fill(b *pipeline.Batch, m *sarama.ConsumerMessage, more <-chan *sarama.ConsumerMessage, topic string, keys internTable) bool {
	for {
		add(b, m, topic, keys)
		if b.Full() {
			return true
		}
		var ok bool
		select {
		case m, ok = <-more:
			if !ok {
				return false
			}
		default:
			return true
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
