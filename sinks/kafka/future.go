package kafka

import (
	"context"
)

// Future is the outcome of a record that is on its way.
type Future struct {
	done   chan struct{}
	result Result
	err    error
}

func newFuture() *Future { return &Future{done: make(chan struct{})} }

func (f *Future) complete(r Result, err error) {
	f.result, f.err = r, err
	close(f.done)
}

// Done is closed when the outcome is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait returns the outcome as soon as it is there. When ctx ends before, the record is
// on its way still and may be written; Wait may be called again.
func (f *Future) Wait(ctx context.Context) (Result, error) {
	select {
	case <-f.done:
		return f.result, f.err
	default:
	}
	if inCallback() {
		return Result{Offset: -1}, ErrInCallback
	}
	select {
	case <-f.done:
		return f.result, f.err
	case <-ctx.Done():
		return Result{Offset: -1}, context.Cause(ctx)
	}
}

// SendFuture takes a record as Send does and returns its future. ctx concerns this
// call only.
func (p *Producer) SendFuture(ctx context.Context, r Record) (*Future, error) {
	f := newFuture()
	return f, p.Send(ctx, r, f.complete)
}

// SendSync sends a record and waits for its outcome. When ctx ends during the wait,
// the record may be written nevertheless. It waits for Linger, too: use Send or
// SendMany for more than a few records a second.
func (p *Producer) SendSync(ctx context.Context, r Record) (Result, error) {
	return await(ctx, func(done Callback) error { return p.Send(ctx, r, done) })
}

func await(ctx context.Context, sending func(Callback) error) (Result, error) {
	if inCallback() {
		return Result{Offset: -1}, ErrInCallback
	}
	f := newFuture()
	if err := sending(f.complete); err != nil {
		return Result{Offset: -1}, err
	}
	return f.Wait(ctx)
}
