package stages

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// collection is what a stage has collected in the open transaction: parts of records that
// it holds, in their order.
type collection[T any] struct {
	sc    *pipeline.StageContext
	cfg   BatchConfig
	flush func(ctx context.Context, held []*pipeline.Held, members []T) error // goes on with some of them

	held    []*pipeline.Held
	members []T // beside them
	bytes   int
}

// collect returns what adds the current record to a collection, with a value for it.
func collect[T any](sc *pipeline.StageContext, cfg BatchConfig, flush func(context.Context, []*pipeline.Held, []T) error) func(context.Context, T) error {
	c := &collection[T]{sc: sc, cfg: cfg, flush: flush}
	sc.Hook(pipeline.Hooks{
		BeforeCommit: func(ctx context.Context) error {
			for len(c.held) > 0 {
				if err := c.cut(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		Aborted: func() { c.drop(len(c.held)) }, // they come again
	})
	return func(ctx context.Context, member T) error {
		h := sc.Hold()
		for c.full(h) {
			if err := c.cut(ctx); err != nil {
				return err
			}
		}
		c.held, c.members, c.bytes = append(c.held, h), append(c.members, member), c.bytes+h.Size()
		return nil
	}
}

// full reports whether a group must be cut off before there is another record. While it
// has a part of the one that is being processed, whose rest may still fail, it cannot be.
func (c *collection[T]) full(more *pipeline.Held) bool {
	if len(c.held) == 0 || len(c.held) < c.cfg.Size && c.bytes+more.Size() <= c.cfg.MaxBytes {
		return false
	}
	for i := c.group() - 1; i >= 0; i-- {
		if h := c.held[i]; h.Alive() && !h.Through() {
			return false
		}
	}
	return true
}

// group is how many of the first are within the bounds.
func (c *collection[T]) group() int {
	n, bytes := 0, 0
	for n < min(len(c.held), c.cfg.Size) {
		if bytes += c.held[n].Size(); n > 0 && bytes > c.cfg.MaxBytes {
			break
		}
		n++
	}
	return n
}

// cut goes on with the first that are within the bounds.
func (c *collection[T]) cut(ctx context.Context) error {
	n := c.group()
	err := c.flush(ctx, c.held[:n], c.members[:n])
	c.drop(n)
	return err
}

func (c *collection[T]) drop(n int) {
	for _, h := range c.held[:n] {
		c.bytes -= h.Size()
	}
	left := copy(c.held, c.held[n:])
	copy(c.members, c.members[n:])
	clear(c.held[left:])
	clear(c.members[left:])
	c.held, c.members = c.held[:left], c.members[:left]
}

// living moves those that have not failed elsewhere to the front, and returns how many
// they are.
func living[T any](held []*pipeline.Held, members []T) int {
	n := 0
	for i, h := range held {
		if h.Alive() {
			held[n], held[i] = h, held[n]
			members[n], members[i] = members[i], members[n]
			n++
		}
	}
	return n
}
