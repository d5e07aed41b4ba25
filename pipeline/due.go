package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// untilDue returns when a record of a retry topic is due. It waits outside of the chain, where
// the partition can be given up at once: what is finished is handed over first, by stages with
// state at the next interval, so that nothing waits with the record.
func (c *Claim) untilDue(r *Raw) error {
	wait := c.task.DueIn(r, time.Now())
	if wait == 0 {
		return nil
	}
	return c.waitFor(wait)
}

// waitFor waits before the next record of a retry topic.
func (c *Claim) waitFor(wait time.Duration) error {
	if !c.task.Stateful() {
		if err := c.handOver(true); err != nil {
			return err
		}
	}
	c.due.Store(time.Now().Add(wait).UnixNano())
	defer c.due.Store(0)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			c.tick = c.w.tick.Load() // the time was no stage's
			return nil
		case <-c.wake:
			if err := c.woken(); err != nil {
				return err
			}
		case <-c.stop:
			return c.final()
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
}

// catchUp returns when the claim knows which keys wait in the retry topic: whoever had the
// partition before may have written marks that the table of this worker does not have
// yet. They had been written when the position was committed from which this claim begins.
func (c *Claim) catchUp() error {
	m := c.w.marks[c.part.Topic]
	if m == nil {
		return nil
	}
	c.task.line.undo(0) // of an earlier claim
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	for try := 0; ; try++ {
		done := make(chan error, 1)
		go func() { done <- c.w.catcher.CaughtUp(ctx, m.topic) }()
		var err error
		select {
		case err = <-done:
		case <-c.stop:
			cancel()
			<-done
			return errStopped
		}
		switch {
		case err == nil:
			return nil
		case c.ctx.Err() != nil:
			return errStopped
		case IsFatal(err):
			return fmt.Errorf("pipeline %q, marks of %v: %w", c.w.p.name, c.part, err)
		}
		c.w.log.Warn("the marks of keys that wait to be retried are not read yet, trying again", "partition", c.part, "error", err)
		select {
		case <-time.After(unlimitedBackoff.Wait(try)):
		case <-c.stop:
			return errStopped
		}
	}
}

// again waits before a record of a retry topic is tried once more in its place, if that is what err
// says.
func (c *Claim) again(err error) (bool, error) {
	a, ok := errors.AsType[*errAgain](err)
	if !ok {
		return false, nil
	}
	return true, c.waitFor(a.after)
}
