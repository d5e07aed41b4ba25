package pipeline

import (
	"errors"
	"fmt"
	"maps"
)

// reject remembers refused records, so that their replay meets the policy. A
// record that is refused again was refused as its own dead letter.
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
		if _, again := known[r.Origin]; again && r.Topic == w.p.deadLetter {
			w.fail(&StageError{
				Pipeline: w.p.name, Stage: r.Topic, Origin: r.Origin,
				Err: fmt.Errorf("%w: topic %q refused it: %w", ErrDeadLetterTooLarge, r.Topic, r.Err),
			})
		}
		if r.Topic == w.p.deadLetter {
			known[r.Origin] = r
			continue
		}
		for _, o := range w.fellowsOf(r.Origin) {
			known[o] = Rejection{Origin: o, Topic: r.Topic, Err: r.Err}
		}
	}
	w.rejects.Store(&known)
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
