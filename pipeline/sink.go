package pipeline

import (
	"context"
	"errors"
	"fmt"
)

// Sink takes outputs. Send may be called from several goroutines at once; no
// other method is called during a Send, nor two at once.
type Sink interface {
	// Open connects and checks the output topics. It returns within seconds.
	Open(ctx context.Context, spec Spec) (Terms, error)

	// Send hands outputs over, in order. It may return before they are written
	// and block while the sink's buffer is full. The slice is the caller's
	// again when Send returns; what its elements refer to may be kept. With a
	// transactional sink it is called inside a transaction.
	Send(ctx context.Context, outputs []Output) error

	// Flush waits until everything sent so far is acknowledged, and reports
	// what was not.
	Flush(ctx context.Context) error

	// Close releases connections, without flushing. It returns within seconds.
	Close() error
}

// TransactionalSink is a [Sink] that can commit outputs together with the
// positions of the input. One transaction is open at a time.
type TransactionalSink interface {
	Sink
	// Init claims the transactional id: whatever an earlier owner, or this sink
	// itself before a failure, has left open is ended, and its owner fenced.
	Init(ctx context.Context) error
	// Begin opens a transaction.
	Begin(ctx context.Context) error
	// SendOffsets adds input positions to the transaction.
	SendOffsets(ctx context.Context, offsets []Offset, group GroupMetadata) error
	// Commit flushes and commits. An error other than [Abortable] leaves open
	// whether it is committed.
	Commit(ctx context.Context) error
	// Abort discards the transaction. After an error the sink needs Init.
	Abort(ctx context.Context) error
}

// InterceptorMeter is a [Sink] that counts what fails in its interceptors.
type InterceptorMeter interface {
	// InterceptorFailures is called from any goroutine.
	InterceptorFailures() int64
}

// Verdict is what a [SinkError] means for the transaction.
type Verdict uint8

const (
	// Unknown: it may be committed or not, or the producer is of no use any
	// more. The producer is initialised anew and the committed positions are
	// fetched. It is also the verdict on errors that are no SinkError.
	Unknown Verdict = iota
	// Abortable: nothing of it is committed, and Abort can end it. Its input is
	// replayed.
	Abortable
	// Fenced: another producer has taken the transactional id.
	Fenced
)

// SinkError is an error of a sink's method. That of SendOffsets wraps [ErrRebalanced] if
// the group is in another generation than the metadata say.
type SinkError struct {
	// Op is what failed: send, flush, offsets, commit …
	Op      string
	Verdict Verdict
	// Rejected are records that were refused for their own sake, for instance as
	// too large. They meet their policy when they are replayed.
	Rejected []Rejection
	Err      error
}

// Rejection is an output that was refused.
type Rejection struct {
	Origin Origin
	Topic  string
	Err    error
}

// Error names the operation.
func (e *SinkError) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

// Unwrap returns the underlying error.
func (e *SinkError) Unwrap() error { return e.Err }

func verdictOf(err error) Verdict {
	if se, ok := errors.AsType[*SinkError](err); ok {
		return se.Verdict
	}
	return Unknown
}
