package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Worker is the engine behind one member of a source and one producer: it runs
// the chains of the partitions that the source claims, and ends the transactions
// that hold their outputs and positions.
//
// A transaction is open from the first hand-over after a commit to the next
// commit. Claims hand over under the read lock of mu; whoever ends a transaction
// holds the write lock, so that it contains exactly the outputs of the positions
// it carries. Nobody holds mu while user code runs.
type Worker struct {
	p    *Pipeline
	sink Sink
	tx   TransactionalSink // nil at least once
	cfg  *runConfig
	log  *slog.Logger
	dead *deadLetterMeter

	stopCtx   context.Context // ends when the pipeline shall stop, with the reason as its cause
	stopCause context.CancelCauseFunc
	hard      context.Context // ends when its time to stop is over

	tick      atomic.Uint64 // commit intervals so far
	kick      chan struct{} // a commit is due before its time
	records   atomic.Int64  // handed to the open transaction
	bytes     atomic.Int64
	rejects   atomic.Pointer[map[Origin]Rejection]
	batches   sync.Pool
	owned     atomic.Pointer[[]Partition]
	failure   atomic.Pointer[error]
	maxRecord int

	mu          *gate
	session     Session
	sessionOver chan struct{} // closed: nothing of this session may be committed any more
	over        bool          // sessionOver is closed
	claims      map[Partition]*Claim
	inTxn       bool
	txnBegan    time.Time
	epoch       uint64 // counts aborts
	streak      int    // aborts since the last commit
	needInit    bool
	fenced      []time.Time
	side        []Output // dead letters of tables, for the next transaction
}

func newWorker(p *Pipeline, source Source, sink Sink, cfg *runConfig) *Worker {
	w := &Worker{
		p: p, sink: sink, cfg: cfg, log: cfg.logger.With("pipeline", p.name), dead: newDeadLetterMeter(p.deadLetterRate),
		mu: newGate(), kick: make(chan struct{}, 1), claims: map[Partition]*Claim{},
		sessionOver: make(chan struct{}), over: true,
	}
	close(w.sessionOver)
	w.batches.New = func() any { return &Batch{Records: make([]Raw, 0, batchRecords)} }
	if cfg.guarantee == ExactlyOnce {
		w.tx = sink.(TransactionalSink)
		w.needInit = true
	}
	cfg.stats.attach(w.dead, p.tables, w.partitions, source)
	return w
}

// Ready returns when the worker can take a session: its producer is initialised,
// so that whatever an earlier one left open has ended and the committed positions
// are final. The source calls it before it fetches them.
func (w *Worker) Ready(ctx context.Context) error {
	if !w.initNeeded() {
		return nil
	}
	for try := 0; ; try++ {
		err := w.tx.Init(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if IsFatal(err) {
			return fmt.Errorf("pipeline %q: %w", w.p.name, err)
		}
		w.log.Warn("producer not ready, trying again", "error", err)
		if !sleep(ctx, unlimitedBackoff.Wait(try)) {
			return context.Cause(ctx)
		}
	}
	w.cfg.stats.recoveries.Add(1)
	w.mu.Lock()
	w.needInit = false
	w.mu.Unlock()
	return nil
}

func (w *Worker) initNeeded() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.needInit
}

// Begin starts a session.
func (w *Worker) Begin(s Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session, w.sessionOver, w.over = s, make(chan struct{}), false
	w.cfg.stats.sessions.Add(1)
	if w.needInit { // the source did not call Ready, or it failed since
		w.endSession("the producer is not initialised")
	}
}

// SessionOver is closed when the session can commit nothing any more, so that
// the source should end it and begin another.
func (w *Worker) SessionOver() <-chan struct{} { return w.sessionDone() }

// Claim starts to process a partition. start is the position of the first record
// that will be delivered, or negative if the source does not know it.
func (w *Worker) Claim(part Partition, start int64) (*Claim, error) {
	ctx, cancel := context.WithCancel(w.hard)
	c := &Claim{
		w: w, part: part, ctx: ctx, cancel: cancel, next: start,
		queue: make(chan *Batch, 1), wake: make(chan struct{}, 1), stop: make(chan struct{}), finished: make(chan struct{}),
	}
	c.committed.Store(start)
	c.settledAt = start
	task, err := w.p.Compile(part, TaskConfig{
		MaxRecordSize: w.maxRecord, Stop: c.stop, dead: w.dead,
		onWait: func(stage string, err error) {
			w.cfg.stats.waiting.Add(1)
			c.finishedWhileWaiting()
			if err != nil {
				w.log.Warn("waiting to try again", "stage", stage, "partition", part, "error", err)
			}
		},
		onWaited: func() { w.cfg.stats.waiting.Add(-1) },
	})
	if err != nil {
		cancel()
		return nil, err
	}
	c.task = task

	if err := w.register(c); err != nil {
		cancel()
		return nil, err
	}
	c.unhook = context.AfterFunc(w.stopCtx, c.halt) // the source may be waiting in Deliver
	go c.run()
	if f := w.cfg.onAssigned; f != nil {
		f(part)
	}
	return c, nil
}

func (w *Worker) register(c *Claim) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claims[c.part] != nil {
		return fmt.Errorf("pipeline %q: %v is claimed already", w.p.name, c.part)
	}
	c.epoch, c.position = w.epoch, c.next
	w.claims[c.part] = c
	w.publish()
	if w.over {
		c.halt()
	}
	return nil
}

// publish makes the owned partitions readable without the lock, which a commit
// holds.
func (w *Worker) publish() {
	all := slices.SortedFunc(maps.Keys(w.claims), Partition.Compare)
	w.owned.Store(&all)
}

// End ends the session after all of its claims are released.
func (w *Worker) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commitLocked() // dead letters of tables may be left
	if w.inTxn && !w.over {
		w.abortLocked("end of session", errors.New("the transaction holds no input"))
	}
	w.endSession("")
	w.session = nil
}

// take hands what a claim has finished to the open transaction.
func (w *Worker) take(c *Claim) error {
	if err := w.openFor(c); err != nil {
		return err
	}
	outs := c.task.Outputs()
	if len(outs) > 0 {
		if err := w.sink.Send(w.hard, outs); err != nil {
			epoch := w.epoch
			w.mu.RUnlock()
			w.failed("send", err, epoch)
			return errReplay
		}
	}
	c.position, c.dirty = c.next, true
	c.handed += c.fresh
	counts := c.task.counts
	records, bytes := w.records.Add(c.fresh), w.bytes.Add(counts.inputBytes+counts.outputBytes)
	w.cfg.stats.add(&c.task.counts)
	w.mu.RUnlock()

	c.task.Clear()
	c.fresh = 0
	if records >= w.cfg.commitRecords || bytes >= w.cfg.commitBytes {
		w.commitSoon()
	}
	return nil
}

// settle commits what a claim with state has handed over before. Its stages must
// hear of that commit before they are asked for more: a Committed that comes after
// the next BeforeCommit would vouch for what that one handed over, too.
func (w *Worker) settle(c *Claim) {
	w.mu.RLock()
	dirty := c.dirty
	w.mu.RUnlock()
	if !dirty {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.dirty {
		w.commitLocked()
	}
}

// openFor returns with mu read-locked and a transaction open, or with an error
// and mu unlocked.
func (w *Worker) openFor(c *Claim) error {
	for {
		w.mu.RLock()
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
		w.begin()
	}
}

func (w *Worker) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
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
		w.mu.Lock()
		w.commitLocked()
		w.mu.Unlock()
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

func (c *Claim) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// commitLocked ends the open transaction: outputs, positions, commit. Only live
// claims have their position committed: the broker does not check who owns a
// partition, so this is where one that was revoked is kept out.
func (w *Worker) commitLocked() {
	if w.over {
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
	w.inTxn, w.streak, w.side = false, 0, nil
	w.records.Store(0)
	w.bytes.Store(0)
	var n int64
	for _, c := range w.claims {
		if c.dirty {
			c.dirty = false
			n += c.handed
			c.handed = 0
			c.committed.Store(c.position)
		}
	}
	w.forgetRejected(offsets)
	s := w.cfg.stats
	s.committed.Add(n)
	s.commits.Add(1)
	s.lastCommit.Store(time.Now().UnixNano())
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

// failed is failedLocked for an error in the transaction of an epoch. If that one
// has been aborted since, because of another partition's, the next one is not to
// suffer for it.
func (w *Worker) failed(op string, err error, epoch uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoch != epoch && !IsFatal(err) {
		w.reject(err)
		return
	}
	w.failedLocked(op, err)
}

// failedLocked decides what follows an error of the sink: replay from memory
// after a definite abort, a new producer and session when the outcome is unknown,
// or the end.
func (w *Worker) failedLocked(op string, err error) {
	if w.over {
		return
	}
	w.reject(err)
	if w.stopCtx.Err() != nil { // there will be no replay in this run
		w.fail(fmt.Errorf("pipeline %q: stopped without its last commit, whose input is processed again at the next start: %s: %w", w.p.name, op, err))
	}
	switch v := verdictOf(err); {
	case IsFatal(err):
		w.endSession("")
		w.needInit = w.tx != nil
		w.fail(fmt.Errorf("pipeline %q: %s: %w", w.p.name, op, err))
	case v == Abortable && w.tx != nil && w.hard.Err() == nil:
		w.abortLocked(op, err)
	default:
		w.log.Warn("outcome unknown, starting a new session", "op", op, "error", err)
		if v == Fenced {
			w.countFence(err)
		}
		w.endSession("")
		w.needInit = w.tx != nil
	}
}

// abortLocked aborts the open transaction and has its input replayed.
func (w *Worker) abortLocked(op string, cause error) {
	w.log.Warn("transaction aborted, replaying its input", "op", op, "error", cause)
	w.cfg.stats.aborts.Add(1)
	if w.inTxn {
		if err := w.tx.Abort(w.hard); err != nil {
			if IsFatal(err) {
				w.fail(fmt.Errorf("pipeline %q: abort: %w", w.p.name, err))
			}
			w.log.Warn("abort failed, starting a new session", "error", err)
			w.endSession("")
			w.needInit = true
			return
		}
	}
	w.inTxn = false
	w.streak++
	w.epoch++
	w.records.Store(0)
	w.bytes.Store(0)
	for _, c := range w.claims {
		c.dirty, c.handed = false, 0
		c.notify()
	}
}

// endSession closes the session for commits and halts its claims. What they have
// not committed is read again in the next session.
func (w *Worker) endSession(why string) {
	if w.over {
		return
	}
	if why != "" {
		w.log.Warn("session ended", "reason", why)
	}
	w.over = true
	close(w.sessionOver)
	w.inTxn = false
	w.records.Store(0)
	w.bytes.Store(0)
	for _, c := range w.claims {
		c.dirty, c.handed = false, 0
		c.halt()
	}
}

// A fenced producer is initialised again, which fences the other in turn: two
// workers that share an instance name would do so for ever.
const (
	maxFences   = 5
	fenceWindow = 10 * time.Minute
)

func (w *Worker) countFence(err error) {
	if limit := w.cfg.limits.Transaction; w.inTxn && limit > 0 && time.Since(w.txnBegan) >= limit {
		return // the coordinator timed our transaction out; nobody else has the id
	}
	now := time.Now()
	w.fenced = slices.DeleteFunc(append(w.fenced, now), func(t time.Time) bool { return now.Sub(t) > fenceWindow })
	if len(w.fenced) > maxFences {
		w.fail(fmt.Errorf("pipeline %q: fenced %d times within %v: another worker runs under the same instance name; give each its own: %w",
			w.p.name, len(w.fenced), fenceWindow, err))
	}
}

// reject remembers refused records, so that their replay meets the policy. A
// record that is refused again was refused as its own dead letter.
func (w *Worker) reject(err error) {
	se, ok := errors.AsType[*SinkError](err)
	if !ok || len(se.Rejected) == 0 {
		return
	}
	known := map[Origin]Rejection{}
	if m := w.rejects.Load(); m != nil {
		for o, r := range *m {
			known[o] = r
		}
	}
	for _, r := range se.Rejected {
		if _, again := known[r.Origin]; again && r.Topic == w.p.deadLetter {
			w.fail(&StageError{
				Pipeline: w.p.name, Stage: r.Topic, Origin: r.Origin,
				Err: fmt.Errorf("%w: topic %q refused it: %w", ErrDeadLetterTooLarge, r.Topic, r.Err),
			})
		}
		known[r.Origin] = r
	}
	w.rejects.Store(&known)
}

// forgetRejected drops what is committed.
func (w *Worker) forgetRejected(offsets []Offset) {
	m := w.rejects.Load()
	if m == nil {
		return
	}
	left := maps.Clone(*m)
	for _, o := range offsets {
		maps.DeleteFunc(left, func(at Origin, _ Rejection) bool {
			return at.Topic == o.Topic && at.Partition == o.Partition.Partition && at.Offset < o.Next
		})
	}
	if len(left) == 0 {
		w.rejects.Store(nil)
		return
	}
	w.rejects.Store(&left)
}

func (w *Worker) rejected(o Origin) *Rejection {
	m := w.rejects.Load()
	if m == nil {
		return nil
	}
	r, ok := (*m)[o]
	if !ok {
		return nil
	}
	return &r
}

func (w *Worker) aborted(c *Claim) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return c.epoch != w.epoch && !w.over && !c.gone
}

// rewound lets a claim replay, after a pause that grows with each abort in a row.
func (w *Worker) rewound(c *Claim) error {
	w.mu.Lock()
	c.epoch = w.epoch
	streak, gone := w.streak, c.gone || w.over
	w.mu.Unlock()
	if gone {
		return errStopped
	}
	if streak > 1 {
		select {
		case <-time.After(Backoff{}.Wait(streak - 2)):
		case <-c.stop:
			return errStopped
		}
	}
	return nil
}

// drop commits what a claim has handed over and removes it.
func (w *Worker) drop(c *Claim) {
	w.mu.Lock()
	if c.dirty {
		w.commitLocked()
	}
	c.gone, c.dirty = true, false
	delete(w.claims, c.part)
	w.publish()
	w.mu.Unlock()
	if f := w.cfg.onRevoked; f != nil {
		f(c.part)
	}
}

func (w *Worker) recycle(b *Batch) {
	clear(b.Records)
	b.Records, b.Bytes = b.Records[:0], 0
	w.batches.Put(b)
}

// releaseBudget is how long a claim may take to be given up.
func (w *Worker) releaseBudget() time.Duration {
	if w.stopCtx.Err() != nil {
		return w.cfg.stopTimeout
	}
	if r := w.cfg.limits.Rebalance; r > 0 {
		return r / 2
	}
	return w.cfg.stopTimeout
}

func (w *Worker) sessionDone() <-chan struct{} {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.sessionOver
}

func (w *Worker) lastPosition(c *Claim) int64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return c.position
}

func (w *Worker) partitions() []Partition {
	if all := w.owned.Load(); all != nil {
		return slices.Clone(*all)
	}
	return nil
}

// fail stops the pipeline with an error. The first one counts.
func (w *Worker) fail(err error) {
	w.failure.CompareAndSwap(nil, &err)
	w.stopCause(err)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
