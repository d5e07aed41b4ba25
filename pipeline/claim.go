package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Batch is input records of one partition, in offset order. Batches are reused:
// take one from [Claim.NewBatch] and hand it over with [Claim.Deliver].
type Batch struct {
	Records []Raw
	// Bytes is what the records take in memory, roughly: keys, values, headers.
	Bytes int
}

// Claim is one partition while this worker owns it. Its source calls Deliver, from
// one goroutine, and then Release, from the same or another: a Deliver that blocks
// meanwhile returns false. The claim's own goroutine runs the chain.
type Claim struct {
	w    *Worker
	part Partition
	task *Task

	ctx      context.Context // the chain's; ends when time is up
	cancel   context.CancelFunc
	unhook   func() bool   // of halt from the pipeline's stop
	queue    chan *Batch   // one ahead of the chain
	wake     chan struct{} // something below has changed
	stop     chan struct{} // closed: give up after the current record
	stopping atomic.Bool   // the same, cheap to read
	engaged  atomic.Int32  // > 0: its goroutine waits for the sink or for other claims, not for a stage
	idle     atomic.Bool   // the source has nothing more for now
	finished chan struct{} // closed: the goroutine has returned

	// Written by the claim's goroutine under w.mu's read lock, by the committer
	// under its write lock.
	position  int64   // next offset after what was handed to the transaction
	handed    int64   // number of input records handed to it
	dirty     bool    // position is not committed
	groups    []group // of what was handed to it; they outlast its abort until the rewind
	epoch     uint64  // of the worker, as of the last rewind
	gone      bool    // released: nothing of it may be committed any more
	committed atomic.Int64
	delivered atomic.Int64 // offset after the last record that the source has delivered, or -1
	waits     atomic.Pointer[wait]
	restoring atomic.Pointer[Restoring]
	due       atomic.Int64 // unix ns: when the record that it waits for is due, or 0

	// The goroutine's own.
	pending   []*Batch // input that is not committed yet: the replay buffer
	batch     int      // next to process: pending[batch].Records[record]
	record    int
	next      int64 // offset after the last finished record
	fresh     int64 // finished records not handed over
	tick      uint64
	slow      bool // records take longer than a commit interval: hand over each at once
	settledAt int64
}

var (
	errReplay  = errors.New("replay")
	errStopped = errors.New("claim stopped")
)

// batchRecords is how many records a batch holds at most.
const batchRecords = 256

// NewBatch returns an empty batch to fill. Keep it to 256 records and about
// 1 MiB: a batch is what is held in memory beyond the replay buffer.
func (c *Claim) NewBatch() *Batch { return c.w.batches.Get().(*Batch) }

// Full reports whether a batch should be delivered before more is added.
func (b *Batch) Full() bool { return len(b.Records) >= batchRecords || b.Bytes >= 1<<20 }

// Deliver hands a batch to the chain. It blocks while the one before is still
// being processed, and returns false when the claim takes no more: call Release.
// An empty batch is dropped.
func (c *Claim) Deliver(b *Batch) bool {
	if len(b.Records) == 0 {
		return !c.stopping.Load()
	}
	last := lastOffset(b) // the batch is not ours afterwards
	select {
	case c.queue <- b:
		c.delivered.Store(last + 1)
		return true
	case <-c.stop:
	case <-c.finished:
	}
	return false
}

// TryDeliver is Deliver that gives up when a channel is closed: the claim is still
// open then, and the batch has not been taken.
func (c *Claim) TryDeliver(b *Batch, giveUp <-chan struct{}) (taken, open bool) {
	if len(b.Records) == 0 {
		return true, !c.stopping.Load()
	}
	last := lastOffset(b)
	select {
	case c.queue <- b:
		c.delivered.Store(last + 1)
		return true, true
	case <-giveUp:
		return false, true
	case <-c.stop:
	case <-c.finished:
	}
	return false, false
}

// Idle says that the source has nothing more for now, and may get nothing before what it
// has delivered is committed: that is committed as soon as it has been processed, and not
// only at the next interval. It costs a commit: a source that is given records without
// asking need not call it.
func (c *Claim) Idle() {
	c.idle.Store(true)
	c.notify()
}

// Done is closed when the claim takes no more input: its session is over, or the
// pipeline stops.
func (c *Claim) Done() <-chan struct{} { return c.stop }

func (c *Claim) run() {
	defer close(c.finished)
	returned := false
	defer func() {
		if !returned { // a user function ended the goroutine
			c.w.fail(&StageError{
				Pipeline: c.w.p.name, Stage: c.task.stageName(c.task.running), Origin: c.task.current.Origin, Err: &PanicError{},
			})
		}
	}()
	c.work()
	returned = true
}

func (c *Claim) work() {
	if err := c.begin(); err != nil {
		c.ends(err)
		return
	}
	for {
		var err error
		select {
		case <-c.stop:
			err = c.final()
		case b := <-c.queue:
			c.pending = append(c.pending, b)
			err = c.process()
		case <-c.wake:
			err = c.woken()
		}
		if err == nil {
			err = c.commitIfIdle()
		}
		for errors.Is(err, errReplay) {
			if err = c.rewind(); err == nil {
				err = c.process()
			}
		}
		if err != nil {
			c.ends(err)
			return
		}
	}
}

// begin is before the first record.
func (c *Claim) begin() error {
	if err := c.catchUp(); err != nil {
		return err
	}
	return c.task.Assigned(c.ctx)
}

// ends fails the pipeline with an error, unless that only says that the claim is over.
func (c *Claim) ends(err error) {
	if !errors.Is(err, errStopped) && !errors.Is(err, errInterrupted) && c.ctx.Err() == nil {
		c.w.fail(err)
	}
}

// process runs the chain over what is pending and hands over what is finished.
func (c *Claim) process() error {
	c.tick = c.w.tick.Load()
	for c.batch < len(c.pending) {
		records := c.pending[c.batch].Records
		slow := false // in this batch
		for c.record < len(records) {
			if c.stopping.Load() {
				return c.final()
			}
			r := &records[c.record]
			if c.task.delay > 0 {
				if err := c.untilDue(r); err != nil {
					return err
				}
			}
			if err := c.one(r); err != nil {
				if again, err := c.again(err); err != nil {
					return err
				} else if again {
					continue
				}
				if c.task.torn != nil {
					return err
				}
				return errors.Join(err, c.handOver(true))
			}
			c.record++
			c.next = r.Origin.Offset + 1
			c.fresh++
			if tick := c.w.tick.Load(); tick != c.tick || c.slow {
				if !c.task.holds { // else each would be waited for, one after the other
					slow = slow || tick > c.tick+1
					c.slow = c.slow || slow
				}
				if err := c.handOver(true); err != nil {
					return err
				}
				c.tick = c.w.tick.Load() // it may have waited for a commit, which is no reason for another
			}
		}
		c.batch, c.record, c.slow = c.batch+1, 0, slow
		if err := c.handOver(false); err != nil {
			return err
		}
	}
	return nil
}

func (c *Claim) one(r *Raw) error {
	if reason := c.w.rejected(r.Origin); reason != nil {
		return c.task.Reject(c.ctx, r, reason.Topic, reason.Err)
	}
	return c.task.Process(c.ctx, r)
}

// handOver gives outputs and position of the finished records to the open
// transaction. Stages with state are flushed first, and only when a commit is
// due, since what they hold back must not be cut into small pieces.
func (c *Claim) handOver(due bool) error {
	if c.fresh == 0 {
		return nil
	}
	if c.task.Stateful() {
		if !due && c.w.room(c.task.counts.inputBytes) {
			return nil
		}
		c.w.settle(c)
		c.prune()
		if err := c.task.BeforeCommit(c.ctx); err != nil {
			return err
		}
	}
	if err := c.w.take(c); err != nil {
		return err
	}
	c.prune()
	return nil
}

// commitIfIdle has what was delivered committed, if the source waits for that.
func (c *Claim) commitIfIdle() error {
	if !c.idle.Swap(false) {
		return nil
	}
	if len(c.queue) > 0 { // not all of it is processed
		c.idle.Store(true)
		return nil
	}
	if err := c.handOver(true); err != nil {
		return err
	}
	c.w.commitSoon()
	return nil
}

// finishedWhileWaiting hands over what stands before a record that waits, so that
// it does not wait too. It runs inside the chain.
func (c *Claim) finishedWhileWaiting() {
	if c.fresh > 0 && !c.task.Stateful() {
		_ = c.w.take(c) // what this reports is found again by the next handOver
	}
}

// final hands over what is finished, as the claim's last act.
func (c *Claim) final() error {
	if err := c.handOver(true); err != nil && !errors.Is(err, errReplay) {
		return err
	}
	return errStopped
}

func (c *Claim) woken() error {
	if c.w.aborted(c) {
		return errReplay
	}
	c.prune()
	if c.task.Stateful() {
		return c.handOver(true)
	}
	return nil
}

// prune drops committed input from the replay buffer.
func (c *Claim) prune() {
	committed := c.committed.Load()
	if committed == c.settledAt {
		return
	}
	c.settledAt = committed
	c.task.Committed()
	n := 0
	for n < c.batch && lastOffset(c.pending[n]) < committed {
		c.w.recycle(c.pending[n])
		n++
	}
	c.pending = append(c.pending[:0], c.pending[n:]...)
	c.batch -= n
}

func lastOffset(b *Batch) int64 { return b.Records[len(b.Records)-1].Origin.Offset }

// rewind goes back to the first record that is not committed.
func (c *Claim) rewind() error {
	if err := c.w.rewound(c); err != nil {
		return err
	}
	c.prune()
	c.task.Aborted()
	c.task.forget()
	c.fresh, c.batch, c.record = 0, 0, 0
	committed := c.committed.Load()
	if c.task.line != nil {
		c.task.line.undo(committed)
	}
	for c.batch < len(c.pending) && lastOffset(c.pending[c.batch]) < committed {
		c.batch++
	}
	if c.batch < len(c.pending) {
		records := c.pending[c.batch].Records
		for c.record < len(records) && records[c.record].Origin.Offset < committed {
			c.record++
		}
	}
	return nil
}

// Release gives the partition up: the record being processed is finished, what is
// finished is committed, and the partition is dropped, in this order. When
// Release returns, nothing of the partition will be committed by this worker any
// more, so the source may let another have it.
//
// A stage that is still busy when half of the time for this is over gets its
// context cancelled; one that does not heed it is left behind, the pipeline
// fails with [ErrStuck], and what it was doing is not committed. What the sink
// takes for a commit, which a stage must wait for, is not the stage's time: the
// sink has time-outs of its own.
func (c *Claim) Release() {
	c.unhook()
	c.halt()
	if !c.waitFinished() {
		c.w.drop(c)
		c.w.fail(&StageError{
			Pipeline: c.w.p.name, Stage: c.task.runningStage(), Err: ErrStuck,
			Origin: Origin{Topic: c.part.Topic, Partition: c.part.Partition, Offset: c.w.lastPosition(c)},
		})
		return
	}
	c.w.drop(c)
	c.cancel()
	c.task.Revoked()
}

func (c *Claim) halt() {
	if !c.stopping.Swap(true) {
		close(c.stop)
	}
}

// waitFinished waits for the chain's goroutine and reports whether it returned.
func (c *Claim) waitFinished() bool {
	budget := c.w.releaseBudget()
	timer := time.NewTimer(budget / 2)
	defer timer.Stop()
	stopping := c.w.stopCtx.Done()
	if c.w.stopCtx.Err() != nil {
		stopping = nil
	}
	over := c.w.sessionDone()
	cancelled := false
	for {
		select {
		case <-c.finished:
			return true
		case <-over: // nothing of this session can be committed any more
			over = nil
			c.cancel()
		case <-stopping:
			stopping = nil
			budget = c.w.releaseBudget()
			timer.Reset(budget / 2)
		case <-timer.C:
			if c.engaged.Load() == 0 {
				if cancelled {
					return false
				}
				cancelled = true
				c.cancel()
			}
			timer.Reset(budget / 4)
		}
	}
}

// String names the partition.
func (c *Claim) String() string { return fmt.Sprintf("claim of %v", c.part) }

func (c *Claim) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
