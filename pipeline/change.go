package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Change is something that a stage has changed in its state for a record: see
// [StageContext.Changed].
type Change interface {
	// Settle is called once, on the goroutine that runs the chain. kept says that what
	// the record has put out stays in the transaction. Else it does not: the record
	// failed, in this stage or another, its chain is run again, or it will be replayed;
	// the change must be undone. Changes are settled in any order.
	//
	// It must not block, and must not call the StageContext.
	Settle(kept bool)
}

// Changed says that the stage has changed its state for the current record. Whether that
// holds is known when the record's chain has ended, or later if another stage holds the
// record ([StageContext.Hold]), but always before the hand-over that follows BeforeCommit.
// What an aborted transaction had kept is for the stage's Aborted hook to undo.
//
// It costs an append. Call it while a record is processed or resumed, in no hook.
func (sc *StageContext) Changed(c Change) { sc.task.changes = append(sc.task.changes, c) }

// Current is where the record stands that is being processed, or resumed. It is that of
// the input, whatever the stages before have made of Record.Origin.
func (sc *StageContext) Current() Origin { return sc.task.current.Origin }

// Follow lets the current record end here, since an earlier one makes it superfluous of
// which it is not known yet whether it will be kept: a change for it has not been settled.
// If that one fails, resume goes on with the current record as in [StageContext.Resume],
// after the record that is being processed then, or before the commit. A stage that keeps
// the record for this must copy it: see [Record].
//
// first is what [StageContext.Current] was when the change was made. Of records that have
// become a group, and in case first is the current record, nothing needs to be done: they
// are whole or not at all. A record that stands after the current one, and has overtaken it,
// becomes one group with it.
func (sc *StageContext) Follow(first Origin, resume func(context.Context) error) error {
	t := sc.task
	if first == t.current.Origin {
		return nil
	}
	h := t.inFlight(first.Offset)
	if h == nil || h.over {
		return sc.Fail(Fatal(fmt.Errorf("%w: record %v is to be followed, and is none of them", ErrHeld, first)))
	}
	t.hold()
	switch {
	case h.bond != nil && h.bond == t.held.bond:
	case first.Offset > t.current.Origin.Offset:
		unite([]*Held{t.held, h})
	default:
		h.followers = append(h.followers, follower{t.held, resume})
	}
	return nil
}

// Unite is for a change that builds on one that another record made, of which it is not
// known yet whether it will be kept: the two records become one, of which neither leaves
// without the other; if one fails later on, both do. Call it before the change.
//
// other is what [StageContext.Current] was when its change was made; if it is the current
// record, nothing needs to be done. One that stands after the current record, and has
// overtaken it, cannot be built on ([ErrOvertaken]): its outputs would stand behind.
func (sc *StageContext) Unite(other Origin) error {
	t := sc.task
	if other == t.current.Origin {
		return nil
	}
	if other.Offset > t.current.Origin.Offset {
		return sc.Fail(Fatal(fmt.Errorf("%w: record %v has changed the same state", ErrOvertaken, other)))
	}
	h := t.inFlight(other.Offset)
	switch {
	case h == nil || h.over:
		return sc.Fail(Fatal(fmt.Errorf("%w: record %v is to be built on, and is none of them", ErrHeld, other)))
	case h.ready(): // it will be kept
		return nil
	}
	t.hold()
	unite([]*Held{t.held, h})
	return nil
}

// follower is a record that goes on if another fails. Nothing of it is open until then: it
// stands behind the other one, and leaves after it.
type follower struct {
	held   *Held
	resume func(context.Context) error
}

// hold makes the current record one that is held, with nothing open.
func (t *Task) hold() {
	if t.held == nil {
		t.held = &Held{raw: *t.current}
		t.holds = true
	}
}

// inFlight finds a record among those that are held and those after them.
func (t *Task) inFlight(offset int64) *Held {
	i, ok := slices.BinarySearchFunc(t.flight, offset, func(h *Held, offset int64) int { return cmp.Compare(h.raw.Origin.Offset, offset) })
	if !ok {
		return nil
	}
	return t.flight[i]
}

// fail says that nothing of a held record is kept. Those that followed it go on.
func (t *Task) fail(h *Held) {
	h.over = true
	h.changes = settle(h.changes, false)
	for _, f := range h.followers {
		if f.held.Alive() {
			f.held.open++
			t.again = append(t.again, f)
		}
	}
	h.followers = nil
}

// goOn goes on with the records whose forerunner has failed.
func (t *Task) goOn(ctx context.Context) error {
	if len(t.again) == 0 {
		return nil
	}
	for len(t.again) > 0 {
		f := t.again[0]
		t.again = t.again[1:]
		if err := t.resume(ctx, f.held, []*Held{f.held}, f.resume); err != nil {
			return err
		}
	}
	t.land()
	return nil
}

// attribute makes the changes since the last mark those of a held record.
func (t *Task) attribute(h *Held) {
	above := t.changes[t.changed:]
	h.changes = append(h.changes, above...)
	clear(above)
	t.changes = t.changes[:t.changed]
}

// undo takes the changes since the last mark back.
func (t *Task) undo() {
	t.changes = t.changes[:t.changed+len(settle(t.changes[t.changed:], false))]
}

// settle tells changes what has become of them, and returns the slice without them.
func settle(changes []Change, kept bool) []Change {
	if kept {
		for _, c := range changes {
			c.Settle(true)
		}
	} else {
		for _, c := range slices.Backward(changes) {
			c.Settle(false)
		}
	}
	clear(changes)
	return changes[:0]
}
