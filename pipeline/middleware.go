package pipeline

import "context"

// Handler processes one input record: it runs the record's whole chain. Its
// error is the record's.
type Handler func(ctx context.Context, r *Raw) error

// Middleware wraps the chain of every task, for what concerns all records: trace
// context, headers, time-outs. The first in [Use] is the outermost. It is called
// once for each task; the handler it returns runs on that task's goroutine.
//
// A middleware may pass on another record than it received, must return the
// error of next or one that wraps it, and may call next again: what an earlier
// call put out is dropped first.
type Middleware func(next Handler) Handler
