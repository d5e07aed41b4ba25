package watermill

import (
	"context"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// recordKey finds the record that a context belongs to.
type recordKey struct{}

// recordContext is the context of a message that a handler is given. It ends when the
// handler returns, and holds what is published by it until then. It costs one allocation:
// what can end it is made for those who ask.
type recordContext struct {
	parent context.Context
	origin origin
	outbox *Outbox // nil if the handler has none

	mu        sync.Mutex
	over      bool
	inner     context.Context // made by the first who waits for its end
	cancel    context.CancelFunc
	published []published
	failed    int // what a failed try has published begins here, or -1
}

func newRecordContext[T any](ctx context.Context, r *pipeline.Record[T], outbox *Outbox) *recordContext {
	return &recordContext{
		parent: ctx, origin: origin{r.Origin.Partition, r.Origin.Offset, r.Timestamp, r.Key}, outbox: outbox, failed: -1,
	}
}

// recordOf returns the record that a context belongs to, or nil.
func recordOf(ctx context.Context) *recordContext {
	c, _ := ctx.Value(recordKey{}).(*recordContext)
	return c
}

func (c *recordContext) cancellable() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancel(c.parent)
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

// Deadline is the partition's.
func (c *recordContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done, Err and the look for what cancels (in Value) go by the inner context, so that the
// standard library knows it for its own.
func (c *recordContext) Done() <-chan struct{} { return c.cancellable().Done() }
func (c *recordContext) Err() error            { return c.cancellable().Err() }

func (c *recordContext) Value(key any) any {
	switch key.(type) {
	case recordKey:
		return c
	case originKey:
		return &c.origin
	}
	c.mu.Lock()
	ctx := c.inner
	c.mu.Unlock()
	if ctx == nil {
		ctx = c.parent
	}
	return ctx.Value(key)
}

// try is called before each run of a handler. A middleware may run it again after it has
// failed: then what it published before does not count.
func (c *recordContext) try() (began int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed >= 0 {
		c.published, c.failed = c.published[:c.failed], -1
	}
	return len(c.published)
}

func (c *recordContext) tryFailed(began int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = began
}

// end ends the context and returns what was published.
func (c *recordContext) end() []published {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
	return c.published
}

// publish adds messages, all or none.
func (c *recordContext) publish(more []published) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return ErrTransactionEnded
	}
	c.published = append(c.published, more...)
	return nil
}
