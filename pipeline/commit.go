package pipeline

import (
	"context"
	"slices"
	"time"
)

// take hands what a claim has finished to the open transaction.
func (w *Worker) take(c *Claim) error {
	c.engaged.Add(1)
	defer c.engaged.Add(-1)
	if err := w.openFor(c); err != nil {
		return err
	}
	c.groups, c.task.groups = append(c.groups, c.task.groups...), nil
	outs := c.task.Outputs()
	if len(outs) > 0 {
		if err := w.sink.Send(w.hard, outs); err != nil {
			epoch := w.epoch
			w.spoilt.CompareAndSwap(nil, &err)
			w.mu.RUnlock()
			w.failed("send", err, epoch)
			return errReplay
		}
	}
	c.position, c.dirty = c.next, true
	c.handed += c.fresh
	counts := c.task.counts
	w.records.Add(c.fresh)
	w.bytes.Add(counts.inputBytes + counts.outputBytes)
	if w.pendingSince.Load() == 0 {
		now := time.Now().UnixNano()
		w.pendingSince.Store(now) // all claims that come now say much the same
		w.uncommittedSince.CompareAndSwap(0, now)
	}
	w.observers.handOver(c.task.letters)
	c.task.letters = nil
	w.mu.RUnlock()

	w.account(c.task)
	c.task.Clear()
	c.fresh = 0
	if w.full() {
		w.commitSoon()
	}
	return nil
}

// account adds what a task has counted since its last hand-over to the run's counters.
func (w *Worker) account(t *Task) {
	if m := t.meter; m != nil {
		if len(m.took) > 0 {
			w.observers.processed(t.partition.Topic, m.took)
		}
		m.flush()
	}
	w.cfg.stats.add(&t.counts)
}

// settle commits what a claim with state has handed over before. Its stages must
// hear of that commit before they are asked for more: a Committed that comes after
// the next BeforeCommit would vouch for what that one handed over, too.
func (w *Worker) settle(c *Claim) {
	c.engaged.Add(1)
	defer c.engaged.Add(-1)
	w.mu.RLock()
	dirty := c.dirty
	w.mu.RUnlock()
	if !dirty {
		return
	}
	// Of many claims that want this at once, one commits for all.
	if w.mu.LockUnless(func() bool { return !c.dirty }) {
		if c.dirty {
			w.commitLocked()
		}
		w.mu.Unlock()
	}
}

// openFor returns with mu read-locked and a transaction open, or with an error
// and mu unlocked.
func (w *Worker) openFor(c *Claim) error {
	if w.full() { // the commit is due, and nobody runs ahead of it: memory is bounded
		if w.mu.LockUnless(func() bool { return !w.full() }) {
			if w.full() {
				w.commitLocked()
			}
			w.mu.Unlock()
		}
	}
	gone := func() bool { return c.gone || w.over || c.epoch != w.epoch }
	for {
		w.mu.RLockAfter(func() bool { return gone() || w.inTxn || w.tx == nil }, w.beginLocked)
		switch {
		case c.gone || w.over:
			w.mu.RUnlock()
			return errStopped
		case c.epoch != w.epoch:
			w.mu.RUnlock()
			return errReplay
		case w.inTxn || w.tx == nil:
			return nil
		}
		w.mu.RUnlock()
	}
}

func (w *Worker) beginLocked() {
	if w.inTxn || w.over {
		return
	}
	if err := w.tx.Begin(w.hard); err != nil {
		w.failedLocked("begin", err)
		return
	}
	w.inTxn, w.txnBegan = true, time.Now()
}

func (w *Worker) room(more int64) bool { return w.bytes.Load()+more < w.cfg.commitBytes }

func (w *Worker) commitSoon() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// commitLoop ends a transaction every interval, or when one has become large.
func (w *Worker) commitLoop(ctx context.Context) {
	t := time.NewTicker(w.cfg.commitInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			w.tick.Add(1)
			w.wakeStateful()
		case <-w.kick: // the interval goes on: stages with state wait for its end
		}
		began := time.Now()
		w.mu.Lock()
		w.commitLocked()
		w.tellLocked()
		w.mu.Unlock()
		if time.Since(began) >= w.cfg.commitInterval {
			// The next tick is there. A commit at once would be one of what few claims could
			// hand over in between, and the others would wait for it again.
			t.Reset(w.cfg.commitInterval)
		}
	}
}

func (w *Worker) wakeStateful() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, c := range w.claims {
		if c.task.Stateful() {
			c.notify()
		}
	}
}

// commitLocked ends the open transaction: outputs, positions, commit. Only live
// claims have their position committed: the broker does not check who owns a
// partition, so this is where one that was revoked is kept out.
func (w *Worker) commitLocked() {
	if w.over {
		return
	}
	if err := w.spoilt.Load(); err != nil { // whose claim waits for the lock to say so
		w.failedLocked("send", *err)
		return
	}
	var offsets []Offset
	for part, c := range w.claims {
		if c.dirty {
			offsets = append(offsets, Offset{part, c.position})
		}
	}
	if len(offsets) == 0 && len(w.side) == 0 {
		return
	}
	slices.SortFunc(offsets, func(a, b Offset) int { return a.Compare(b.Partition) })
	w.committing = time.Now()
	var err error
	op := "commit"
	if w.tx != nil {
		op, err = w.commitTransaction(offsets)
	} else {
		op, err = w.commitAcknowledged(offsets)
	}
	if w.tx == nil && op == "offsets" && IsRetriable(err) && w.stopCtx.Err() == nil {
		w.log.Debug("offsets not committed yet", "error", err)
		return
	}
	if err != nil {
		w.failedLocked(op, err)
		return
	}
	w.streak, w.side = 0, nil
	w.keep.committed(offsets)
	w.ended(Committed, "")
	var n int64
	for _, c := range w.claims {
		if c.dirty {
			c.dirty = false
			n += c.handed
			c.handed, c.groups = 0, nil
			c.committed.Store(c.position)
		}
	}
	w.forgetRejected(offsets)
	s := w.cfg.stats
	s.committed.Add(n)
	s.commits.Add(1)
	s.lastCommit.Store(time.Now().UnixNano())
}

// ended closes the books of a transaction.
func (w *Worker) ended(outcome Outcome, reason string) {
	now, since := time.Now(), w.pendingSince.Load()
	t := TransactionEnd{Outcome: outcome, Reason: reason, Records: w.records.Swap(0), Bytes: w.bytes.Swap(0)}
	if since != 0 {
		t.Took = max(0, now.Sub(time.Unix(0, since)))
	}
	if !w.committing.IsZero() {
		t.Committing = now.Sub(w.committing)
	}
	w.inTxn, w.committing = false, time.Time{}
	w.pendingSince.Store(0)
	if outcome != Aborted { // then its input is replayed
		w.uncommittedSince.Store(0)
	}
	if outcome != Committed {
		w.cfg.stats.failed(outcome, reason)
	}
	if w.meter != nil {
		w.meter.transactionEnded(t)
	}
	w.observers.transactionEnded(t)
}

func (w *Worker) commitTransaction(offsets []Offset) (op string, err error) {
	if !w.inTxn {
		if err := w.tx.Begin(w.hard); err != nil {
			return "begin", err
		}
		w.inTxn, w.txnBegan = true, time.Now()
	}
	if len(w.side) > 0 {
		if err := w.tx.Send(w.hard, w.side); err != nil {
			return "send", err
		}
	}
	if len(offsets) > 0 {
		if err := w.tx.SendOffsets(w.hard, offsets, w.session.Group()); err != nil {
			return "offsets", err
		}
	}
	return "commit", w.tx.Commit(w.hard)
}

// commitAcknowledged commits the positions once every output before them is
// acknowledged.
func (w *Worker) commitAcknowledged(offsets []Offset) (op string, err error) {
	if len(w.side) > 0 {
		if err := w.sink.Send(w.hard, w.side); err != nil {
			return "send", err
		}
	}
	if err := w.sink.Flush(w.hard); err != nil {
		return "flush", err
	}
	if len(offsets) == 0 {
		return "", nil
	}
	return "offsets", w.session.CommitOffsets(w.hard, offsets)
}
