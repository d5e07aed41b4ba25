package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Outgoing is a record before it is encoded, as interceptors see it. Its fields may
// be changed. It is valid until the interceptor returns.
type Outgoing struct {
	// Topic is where the record goes. In a pipeline it must stay among the topics
	// that the pipeline writes, for a dead letter the same.
	Topic string
	// Headers are shared: change them by Add, Set and Del, which copy.
	Headers Headers
	// Timestamp is the record's time; the zero time is that of the send.
	Timestamp time.Time

	ctx      context.Context
	key, raw []byte
	object   any
	unbox    func(any) any // makes the value of object, a pointer to it; nil if it is the value

	topics []string // which Topic may be; nil means any
	shown  bool     // interceptors have seen it
}

// NewOutgoing returns a record for interceptors: for sinks without a pipeline, and for
// tests of interceptors. ctx is the sender's. raw is the serialized value, object what it
// is encoded from; a nil object means that raw itself is the value.
func NewOutgoing(ctx context.Context, key, raw []byte, object any) *Outgoing {
	return &Outgoing{ctx: ctx, key: key, raw: raw, object: object}
}

// Context is that of the send: what a producer without a pipeline was given, or in a
// pipeline what reaches the output, with what middleware and stages have put in. It may
// end while the record is on its way. A dead letter has none: it is the empty context.
func (o *Outgoing) Context() context.Context {
	if o.ctx == nil {
		return context.Background()
	}
	return o.ctx
}

// Key is the serialized key, nil if there is none, or none yet: a typed producer
// encodes it later. It must not be changed.
func (o *Outgoing) Key() []byte { return o.key }

// Value is what is being sent: the T of a pipeline's output or a typed producer, or
// the []byte of a raw record or dead letter. It must not be changed. A T that is no
// pointer costs an allocation with each call.
func (o *Outgoing) Value() any {
	switch {
	case o.unbox != nil:
		return o.unbox(o.object)
	case o.object != nil:
		return o.object
	}
	return o.raw
}

// Check says what an interceptor must not have done: send a pipeline's record to a
// topic that the pipeline does not write.
func (o *Outgoing) Check() error {
	if o.topics == nil || slices.Contains(o.topics, o.Topic) {
		return nil
	}
	return fmt.Errorf("%w: an interceptor chose another than %s", ErrUnknownTopic, strings.Join(o.topics, ", "))
}

// show has the sink's interceptors see a record of an output.
func show[T any](ctx context.Context, t *Task, o *Outgoing, r *Record[T], topic string, headers Headers) error {
	o.Topic, o.Headers, o.Timestamp = topic, slices.Clip(headers), r.Timestamp // clipped: an append copies
	o.ctx, o.key, o.object, o.topics = ctx, r.Key, &r.Value, t.outputs
	t.intercept(o)
	o.shown = true
	return o.Check()
}

// unbox returns the value that a *T points to.
func unbox[T any](p any) any { return *p.(*T) }
