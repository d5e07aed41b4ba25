package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// handler is the group's side of the worker: it turns sarama's sessions and
// claims into the worker's.
type handler struct {
	s    *Source
	w    *pipeline.Worker
	fail context.CancelCauseFunc

	group    sarama.ConsumerGroup
	fetch    *fetcher
	watching sync.WaitGroup // goroutines that wait for a claim's end

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
			h.fail(errFailed{h.s.groupError(err)})
		default:
			h.s.cfg.Logger.Debug("consumer group", "group", h.s.cfg.Group, "error", err)
		}
	}
}

// topicsEvery is how often the inputs are looked for.
const topicsEvery = 10 * time.Second

// watchTopics fails when an input was deleted: the group would wait for it for ever.
func (h *handler) watchTopics(ctx context.Context) {
	t := time.NewTicker(topicsEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if err := h.s.client.Gone(ctx, h.s.spec.Inputs); err != nil {
			h.fail(errFailed{fmt.Errorf("pipeline %q: %w", h.s.spec.Pipeline, err)})
			return
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
	// sarama gives membership and the signal to let go; the records come from
	// the fetcher.
	h.group.Pause(map[string][]int32{claim.Topic(): {claim.Partition()}})
	ctx, revoke := context.WithCancel(sess.Context())
	h.watching.Go(func() {
		for range claim.Messages() {
		}
		revoke()
	})
	part := pipeline.Partition{Topic: claim.Topic(), Partition: claim.Partition()}
	start := claim.InitialOffset()
	if start < 0 { // not a position but where to look for one
		var err error
		if start, err = h.s.client.Offset(ctx, part, start); err != nil {
			return err
		}
	}
	start, err := h.w.Start(ctx, pipeline.Beginning{Partition: part, TopicID: h.s.ids[part.Topic], Position: start})
	if err != nil {
		if pipeline.IsFatal(err) {
			h.fail(errFailed{err})
		}
		return err
	}
	c, err := h.w.Claim(part, start)
	if err != nil {
		h.fail(errFailed{err})
		return err
	}
	defer c.Release()
	d := h.fetch.open(part, start)
	defer d.close()
	var space headerSpace
	for {
		records, ok, err := d.take(c.Done(), ctx.Done())
		if err != nil {
			h.fail(errFailed{fmt.Errorf("pipeline %q: %w", h.s.spec.Pipeline, err)})
		}
		if !ok {
			return err
		}
		for more := true; more; {
			b := c.NewBatch()
			more = records.fill(b, part, &space)
			if taken, _ := c.TryDeliver(b, ctx.Done()); !taken {
				return nil
			}
		}
	}
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
	if cluster.Rebalanced(err) {
		err = fmt.Errorf("%w: %w", pipeline.ErrRebalanced, err)
		if errors.Is(err, sarama.ErrUnknownMemberId) {
			return err
		}
		return pipeline.Retriable(err) // if the membership is lost, sarama ends the session
	}
	if cluster.IsAuth(err) {
		return pipeline.Fatal(err)
	}
	return err
}
