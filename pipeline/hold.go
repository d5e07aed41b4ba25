package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
)

// Held is an input record that a stage has not finished with: [StageContext.Hold]
// returns it. It belongs to the task, as the stage's state does.
type Held struct {
	raw     Raw
	open    int      // holds that were not resumed
	through bool     // its chain has returned
	over    bool     // it has failed, or will be replayed
	outputs []Output // so far
	bond    *bond    // to those that it has become one with, or nil

	changes   []Change   // of stages' states
	followers []follower // which go on if it fails
}

// bond is between the members of groups that have been resumed, of groups that have a
// member in common, and of records whose changes build on another's: the last one of a group
// has the outputs of all, so none leaves without the others, and if one fails later on, all do.
type bond struct {
	members []*Held
	done    int  // so many of the first have nothing open
	told    bool // it is among the task's groups
}

// Origin is where the record stands.
func (h *Held) Origin() Origin { return h.raw.Origin }

// Alive reports whether there is still something to be done for the record. There is
// not once another part of it has failed, and its policy has decided, or once its
// transaction was aborted, and the record will come again.
func (h *Held) Alive() bool { return !h.over }

// Through reports whether the chain has returned for the record: it is none that is being
// processed. Only such records become a group: see [StageContext.ResumeAll].
func (h *Held) Through() bool { return h.through }

// Size is how long the record's key, value and headers were when it was read, in bytes.
func (h *Held) Size() int { return inputSize(&h.raw) }

// Hold keeps the current record open: the stage returns nil for it, and goes on with
// it in [StageContext.Resume], once for each Hold, in a later call or in a hook. All
// of it must be resumed, or given up with [StageContext.Release], when the stage's
// BeforeCommit returns; the engine stops with [ErrHeld] otherwise.
//
// Until then none of the record's outputs leaves, whichever branch they come from, nor
// does any output of a record after it: a record is whole or not at all, and the order
// of the input is kept, as if nothing had been held. What that keeps in memory is
// bounded as the input of a transaction is. A stage that keeps the record itself must
// copy it: see [Record].
func (sc *StageContext) Hold() *Held {
	t := sc.task
	if t.held == nil {
		t.held = &Held{raw: *t.current}
		t.holds, t.holder = true, sc.id
	}
	t.held.open++
	return t.held
}

// Resume goes on with a held record: f calls what is next, as the stage would have done
// when it had the record. An error of f is the record's, and its policy decides, with
// what the record's other parts have put out. Resume returns an error only if the task
// cannot go on; the stage must return it untouched.
//
// If the record is not [Held.Alive] any more, f is not called. The middleware around
// the chain is not run for what is resumed. It is called from where the stage is: in
// its function, or in BeforeCommit.
func (sc *StageContext) Resume(ctx context.Context, h *Held, f func(context.Context) error) error {
	return sc.task.resume(ctx, h, []*Held{h}, f)
}

// ResumeAll goes on with several held records that have become one, a group for
// instance. What f puts out is the last one's. An error of f is that of each, and so is a
// later one, if what f puts out is held further down: none of the group leaves before all
// of it is done. A record that is there several times, since several parts of it were
// held, is one.
//
// Those that are not alive are left out; f must do the same with their values. The record
// that is being processed must not be among several, since what comes of it is not known
// yet: let a group go when another record comes, or before a commit, and ask
// [Held.Through] if the stage may be given several parts of one record.
func (sc *StageContext) ResumeAll(ctx context.Context, group []*Held, f func(context.Context) error) error {
	var alive []*Held
	for _, h := range group {
		if !h.Alive() {
			h.open--
			continue
		}
		alive = append(alive, h)
	}
	if len(alive) == 0 {
		return nil
	}
	last := alive[len(alive)-1]
	for _, h := range alive {
		if h != last && !(h.through && last.through) {
			return sc.Fail(Fatal(fmt.Errorf("%w: a group has the record that is being processed as a member", ErrHeld)))
		}
	}
	return sc.task.resume(ctx, last, alive, f)
}

// Release gives a held record up without a further output.
func (sc *StageContext) Release(h *Held) { h.open-- }

func (t *Task) resume(ctx context.Context, into *Held, all []*Held, f func(context.Context) error) error {
	for _, h := range all {
		h.open--
	}
	if into.over {
		return nil
	}
	unite(all)
	current, running, held, mark, changed := t.current, t.running, t.held, t.mark, t.changed
	t.current, t.held, t.mark, t.changed = &into.raw, into, len(t.staged), len(t.changes)
	into.open++ // by f, which may hold it again
	defer func() {
		into.open--
		t.current, t.running, t.held, t.mark, t.changed = current, running, held, mark, changed
	}()

	err := t.safely(into.raw.Origin, func() error { return f(ctx) })
	if err == nil && !into.over {
		into.outputs = t.unstage(into.outputs)
		t.attribute(into)
		return nil
	}
	t.unstage(nil)
	t.undo()
	if err == nil { // something that f has resumed has failed, and is of the same record
		return nil
	}
	for _, h := range into.fellows() {
		if h.over {
			continue
		}
		t.current, t.held = &h.raw, h
		if err := t.settle(ctx, &h.raw, err); err != nil {
			t.torn = err
			return err
		}
		t.fail(h)
		h.outputs = t.unstage(nil)
	}
	return nil
}

// unite makes a bond between records, and those that they are bound to already.
func unite(all []*Held) {
	first, several := all[0], false
	for _, h := range all {
		several = several || h != first
	}
	if !several {
		return
	}
	b := all[len(all)-1].bond // which may be large
	if b == nil {
		b = &bond{members: make([]*Held, 0, len(all))}
	}
	for _, h := range all {
		switch {
		case h.bond == nil:
			h.bond, b.members = b, append(b.members, h)
		case h.bond != b:
			b.members = append(b.members, h.bond.members...)
			for _, m := range h.bond.members {
				m.bond = b
			}
		}
	}
}

// fellows are the record and those that it is bound to.
func (h *Held) fellows() []*Held {
	if h.bond == nil {
		return []*Held{h}
	}
	return h.bond.members
}

// done reports whether nothing of the record is open any more.
func (h *Held) done() bool { return h.over || h.open == 0 && h.through }

// ready reports whether that is so of the record and of its fellows.
func (h *Held) ready() bool {
	b := h.bond
	if h.over || b == nil {
		return h.done()
	}
	for b.done < len(b.members) && b.members[b.done].done() {
		b.done++
	}
	return b.done == len(b.members)
}

// safely turns a panic into the error of the stage that ran.
func (t *Task) safely(origin Origin, f func() error) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = t.panicked(origin, &PanicError{Value: recover(), Stack: debug.Stack()})
		}
	}()
	err = f()
	returned = true
	return err
}

// unstage moves what is staged above the mark behind some outputs.
func (t *Task) unstage(to []Output) []Output {
	above := t.staged[t.mark:]
	to = append(to, above...)
	clear(above)
	t.staged = t.staged[:t.mark]
	return to
}

// queue puts the current record behind those that are held, if it is or any is. It
// reports whether it did. settled says that its policy has decided.
func (t *Task) queue(settled bool) bool {
	if t.held == nil && len(t.flight) == 0 {
		return false
	}
	h := t.held
	if h == nil {
		h = &Held{raw: Raw{Origin: t.current.Origin}}
	}
	switch {
	case h.over: // a part of it was resumed already, and failed: its dead letter is there
		t.unstage(nil)
		t.undo()
	case settled:
		t.fail(h)
		h.outputs = t.unstage(nil)
	default:
		h.outputs = t.unstage(h.outputs)
		t.attribute(h)
	}
	h.through = true
	t.held, t.flight = nil, append(t.flight, h)
	t.land()
	return true
}

// land stages the outputs of the records that are done, up to the first that is not.
func (t *Task) land() {
	n := 0
	for n < len(t.flight) && t.flight[n].ready() {
		h := t.flight[n]
		t.staged = append(t.staged, h.outputs...)
		if h.over {
			t.mark = len(t.staged) // a dead letter is no output
		} else if b := h.bond; b != nil && !b.told {
			b.told, t.groups = true, append(t.groups, b.group())
		}
		t.keep()
		h.changes = settle(h.changes, true) // none if it has failed
		h.outputs, h.followers = nil, nil
		n++
	}
	if n > 0 {
		left := copy(t.flight, t.flight[n:])
		clear(t.flight[left:]) // lets go of the records
		t.flight = t.flight[:left]
	}
}

// landed is nil if nothing is held any more.
func (t *Task) landed() error {
	t.land()
	t.keep() // what hooks have put out
	if len(t.flight) == 0 {
		return nil
	}
	h := t.flight[0]
	return &StageError{
		Pipeline: t.p.name, Stage: t.stageName(t.running), Origin: h.raw.Origin,
		Err: Fatal(fmt.Errorf("%w: %d of them; the position to be committed is behind them", ErrHeld, len(t.flight))),
	}
}

// ground forgets what is held: it will be replayed.
func (t *Task) ground() {
	t.undo()
	t.giveUp()
	for _, h := range slices.Backward(t.flight) {
		t.fail(h)
		h.outputs = nil
	}
	t.flight, t.again, t.torn, t.groups = nil, nil, nil, nil
}

// giveUp says that the current record will come again. What is held of it must not go on
// with others, which will be committed before.
func (t *Task) giveUp() {
	if t.held != nil {
		t.fail(t.held)
		t.held = nil
	}
}
