package pipeline

import (
	"context"
	"runtime/debug"
)

// Stateful reports whether a stage of the chain has registered [Hooks], or has held a
// record.
func (t *Task) Stateful() bool { return len(t.hooks) > 0 || t.holds }

// Assigned calls the stages' Assigned hooks.
func (t *Task) Assigned(ctx context.Context) error {
	return t.each(ctx, func(h *Hooks) func(context.Context) error { return h.Assigned })
}

// BeforeCommit calls the stages' BeforeCommit hooks, upstream stages first; what
// they put out is staged.
func (t *Task) BeforeCommit(ctx context.Context) error {
	if t.torn != nil {
		return t.torn
	}
	for {
		if err := t.each(ctx, func(h *Hooks) func(context.Context) error { return h.BeforeCommit }); err != nil {
			t.keep()
			return err
		}
		if len(t.again) == 0 {
			return t.landed()
		}
		// Each round goes on with records whose forerunner has failed; one fails once.
		if err := t.goOn(ctx); err != nil {
			return err
		}
	}
}

func (t *Task) each(ctx context.Context, pick func(*Hooks) func(context.Context) error) error {
	for i := len(t.hooks) - 1; i >= 0; i-- { // compiled from the outputs up
		h := &t.hooks[i]
		if fn := pick(&h.Hooks); fn != nil {
			if err := t.hook(ctx, h.sc, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Task) hook(ctx context.Context, sc *StageContext, fn func(context.Context) error) (err error) {
	if t.current == nil {
		t.current = &Raw{Origin: Origin{Topic: t.partition.Topic, Partition: t.partition.Partition, Offset: -1}}
	}
	sc.Enter()
	defer func() {
		if v := recover(); v != nil {
			err = sc.Fail(&PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return sc.Fail(fn(ctx))
}

// Committed calls the stages' Committed hooks.
func (t *Task) Committed() { t.notify(func(h *Hooks) func() { return h.Committed }) }

// Aborted drops the staged outputs and calls the stages' Aborted hooks.
func (t *Task) Aborted() {
	clear(t.staged)
	t.staged, t.mark = t.staged[:0], 0
	t.ground()
	t.notify(func(h *Hooks) func() { return h.Aborted })
}

// Revoked calls the stages' Revoked hooks.
func (t *Task) Revoked() { t.notify(func(h *Hooks) func() { return h.Revoked }) }

func (t *Task) notify(pick func(*Hooks) func()) {
	for i := len(t.hooks) - 1; i >= 0; i-- {
		if fn := pick(&t.hooks[i].Hooks); fn != nil {
			t.hooks[i].sc.Enter()
			fn()
		}
	}
}
