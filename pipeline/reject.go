package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// reject remembers refused records, so that their replay meets the policy. A
// record that is refused again was refused as its own dead letter, or where it was to be
// retried.
func (w *Worker) reject(err error) {
	se, ok := errors.AsType[*SinkError](err)
	if !ok || len(se.Rejected) == 0 {
		return
	}
	known := map[Origin]Rejection{}
	if m := w.rejects.Load(); m != nil {
		for o, r := range *m {
			known[o] = r
		}
	}
	for _, r := range se.Rejected {
		if _, again := known[r.Origin]; again {
			if tooLarge := w.p.refused(r.Topic); tooLarge != nil {
				w.fail(&StageError{
					Pipeline: w.p.name, Stage: r.Topic, Origin: r.Origin,
					Err: fmt.Errorf("%w: topic %q refused it: %w", tooLarge, r.Topic, r.Err),
				})
			}
		}
		if w.p.refused(r.Topic) != nil { // it is of one record only
			known[r.Origin] = r
			continue
		}
		for _, o := range w.fellowsOf(r.Origin) {
			known[o] = Rejection{Origin: o, Topic: r.Topic, Err: r.Err}
		}
	}
	w.rejects.Store(&known)
}

// refused is the error of what takes a record's place and is refused by a topic, or nil if the
// topic is an output's.
func (p *Pipeline) refused(topic string) error {
	switch {
	case topic == p.deadLetter:
		return ErrDeadLetterTooLarge
	case slices.Contains(p.retryTopics(), topic), slices.Contains(p.markTopics(), topic):
		return ErrRetryTooLarge
	}
	return nil
}

// forgetRejected drops what is committed.
func (w *Worker) forgetRejected(offsets []Offset) {
	m := w.rejects.Load()
	if m == nil {
		return
	}
	left := maps.Clone(*m)
	for _, o := range offsets {
		maps.DeleteFunc(left, func(at Origin, _ Rejection) bool {
			return at.Topic == o.Topic && at.Partition == o.Partition.Partition && at.Offset < o.Next
		})
	}
	if len(left) == 0 {
		w.rejects.Store(nil)
		return
	}
	w.rejects.Store(&left)
}

func (w *Worker) rejected(o Origin) *Rejection {
	m := w.rejects.Load()
	if m == nil {
		return nil
	}
	r, ok := (*m)[o]
	if !ok {
		return nil
	}
	return &r
}
