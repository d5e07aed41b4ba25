package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
)

// Decode decodes a record's value by the serde of the input or table that reads its
// topic, Origin.Topic, outside of any run: for those who show records. It may be
// called from any goroutine. It may ask a schema registry, and ends when ctx does; a
// panic of the serde is a [*PanicError]. A null value decodes to nil.
func (p *Pipeline) Decode(ctx context.Context, r *Raw) (value any, err error) {
	i := slices.IndexFunc(p.nodes, func(n *node) bool { return n.decode != nil && n.reads(r.Origin.Topic) })
	if i < 0 {
		return nil, fmt.Errorf("pipeline %q does not read topic %q", p.name, r.Origin.Topic)
	}
	if r.Value == nil {
		return nil, nil
	}
	defer func() {
		if v := recover(); v != nil {
			value, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	at := Slot{Topic: p.nodes[i].topics[0], Headers: &r.Headers}
	return p.nodes[i].decode(ctx, at, r.Value)
}

// reads reports whether a node with a serde of values reads a topic.
func (n *node) reads(topic string) bool {
	_, ok := n.tier(topic)
	return ok
}

// decodesAny hides a serde's type.
func decodesAny[T any](serde Serde[T]) func(context.Context, Slot, []byte) (any, error) {
	return func(ctx context.Context, at Slot, data []byte) (any, error) { return serde.Decode(ctx, at, data) }
}
