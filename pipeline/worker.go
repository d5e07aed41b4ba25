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
	p      *Pipeline
	sink   Sink
	states StateSource       // or nil
	tx     TransactionalSink // nil at least once
	cfg    *runConfig
	log    *slog.Logger
	dead   *deadLetterMeter

	stopCtx   context.Context // ends when the pipeline shall stop, with the reason as its cause
	stopCause context.CancelCauseFunc
	hard      context.Context // ends when its time to stop is over

	tick    atomic.Uint64 // commit intervals so far
	kick    chan struct{} // a commit is due before its time
	records atomic.Int64  // handed to the open transaction
	bytes   atomic.Int64
	rejects atomic.Pointer[map[Origin]Rejection]
	// spoilt is the first error of a Send in the open transaction, some of whose
	// outputs may have been sent: nothing of it is committed, since their position is
	// not in it.
	spoilt    atomic.Pointer[error]
	batches   sync.Pool
	failure   atomic.Pointer[error]
	maxRecord int
	intercept func(*Outgoing)
	meter     *meter            // nil unless somebody looks
	marks     map[string]*marks // by input that is retried in order
	catcher   TableCatcher      // of them
	observers *observers
	live      atomic.Pointer[[]*Claim]

	pendingSince     atomic.Int64 // unix ns of the open transaction's first hand-over, or 0
	uncommittedSince atomic.Int64 // of the first since the last commit, aborts notwithstanding

	initializing chan struct{} // has room for the one who does: a mutex whose waits are for a channel
	sealed       bool          // the sink is used no more; whoever reads it has one of the locks

	mu          *gate
	session     Session
	sessionOver chan struct{} // closed: nothing of this session may be committed any more
	over        bool          // sessionOver is closed
	claims      map[Partition]*Claim
	inTxn       bool
	txnBegan    time.Time
	committing  time.Time // since when the open transaction is being ended, or zero
	epoch       uint64    // counts aborts
	streak      int       // aborts since the last commit
	needInit    bool
	fenced      []time.Time
	side        []Output // dead letters of tables, for the next transaction
	keep        keeping
}

func newWorker(p *Pipeline, source Source, sink Sink, terms Terms, cfg *runConfig, watch *observers) *Worker {
	w := &Worker{
		p: p, sink: sink, cfg: cfg, log: cfg.logger.With("pipeline", p.name), dead: newDeadLetterMeter(p.deadLetterRate, terms.Intercept),
		maxRecord: terms.MaxRecordSize, intercept: terms.Intercept,
		marks: map[string]*marks{}, initializing: make(chan struct{}, 1), mu: newGate(), kick: make(chan struct{}, 1), claims: map[Partition]*Claim{},
		sessionOver: make(chan struct{}), over: true, observers: watch, keep: newKeeping(sink, cfg.guarantee),
	}
	if len(cfg.observers) > 0 {
		w.meter = newMeter(p)
	}
	w.states, _ = source.(StateSource)
	w.catcher, _ = source.(TableCatcher)
	for _, n := range p.nodes {
		if n.cfg.order != nil {
			w.marks[n.topics[0]] = newMarks(n.cfg.order.marks)
		}
	}
	close(w.sessionOver)
	w.batches.New = func() any { return &Batch{Records: make([]Raw, 0, batchRecords)} }
	if cfg.guarantee == ExactlyOnce {
		w.tx = sink.(TransactionalSink)
		w.needInit = true
	}
	cfg.stats.attach(w, source, sink)
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
		err := w.init(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if IsFatal(err) {
			return fmt.Errorf("pipeline %q: %w", w.p.name, err)
		}
		if verdictOf(err) == Fenced {
			w.countFence(err)
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

// init initialises the producer, unless the run was given up.
func (w *Worker) init(ctx context.Context) error {
	w.initializing <- struct{}{}
	defer func() { <-w.initializing }()
	if w.sealed {
		return Fatal(errSealed)
	}
	return w.tx.Init(ctx)
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
	clear(w.keep.starts)
	clear(w.keep.untold)
	w.cfg.stats.sessions.Add(1)
	w.cfg.stats.phase.CompareAndSwap(int32(PhaseJoining), int32(PhaseRunning))
	if w.needInit || w.sealed { // the source did not call Ready, or it failed since
		w.endSession("the producer is not initialised", "begin")
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
	c.delivered.Store(start)
	c.settledAt = start
	waiting := func(ctx context.Context, stage string, err error) {
		w.cfg.stats.waiting.Add(1)
		c.waits.Store(&wait{stage, err})
		w.meter.troubled(stage, func(t *trouble) { t.retries++ })
		if err != nil {
			w.log.WarnContext(ctx, "waiting to try again", "stage", stage, "partition", part, "error", err)
		}
	}
	var line *line
	if m := w.marks[part.Topic]; m != nil {
		line = m.of(part.Partition)
	}
	task, err := w.p.Compile(part, TaskConfig{
		line:          line,
		MaxRecordSize: w.maxRecord, Intercept: w.intercept, Stop: c.stop, Restore: c.restore, dead: w.dead,
		meter: w.meter, observe: len(w.observers.letters) > 0,
		onWait: func(ctx context.Context, stage string, err error) {
			waiting(ctx, stage, err)
			c.finishedWhileWaiting()
		},
		onRetryAside: func(stage string) { w.meter.troubled(stage, func(t *trouble) { t.retries++ }) },
		onWaitAside:  waiting,
		onWaited: func() {
			w.cfg.stats.waiting.Add(-1)
			c.waits.Store(nil)
		},
	})
	if err != nil {
		cancel()
		return nil, err
	}
	c.task = task
	c.ctx = withTask(ctx, task)

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
	if err := w.keep.begins(c.part, c.next); err != nil {
		return fmt.Errorf("pipeline %q: %w", w.p.name, err)
	}
	c.epoch, c.position = w.epoch, c.next
	w.claims[c.part] = c
	w.publish()
	if w.over {
		c.halt()
	}
	return nil
}

// publish makes the claims readable without the lock, which a commit
// holds.
func (w *Worker) publish() {
	live := slices.SortedFunc(maps.Values(w.claims), func(a, b *Claim) int { return a.part.Compare(b.part) })
	w.live.Store(&live)
}

// End ends the session after all of its claims are released.
func (w *Worker) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commitLocked() // dead letters of tables may be left
	if w.inTxn && !w.over {
		w.log.Debug("transaction aborted at the end of the session, it holds no input")
		w.abortLocked("end of session", errors.New("the transaction holds no input"))
	}
	w.tellLocked()
	w.endSession("", "end of session")
	w.session = nil
}

// full reports whether the open transaction has reached a bound.
func (w *Worker) full() bool {
	return w.records.Load() >= w.cfg.commitRecords || w.bytes.Load() >= w.cfg.commitBytes
}

// drop commits what a claim has handed over and removes it.
func (w *Worker) drop(c *Claim) {
	w.settle(c)
	w.mu.Lock()
	if c.dirty { // a chain that is left behind has handed over since
		w.commitLocked()
	}
	c.gone, c.dirty = true, false
	w.tellLocked()
	delete(w.claims, c.part)
	w.keep.forget(c.part)
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
