package send

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// accumulator collects records into batches. Callers append from any goroutine;
// the machine collects what is sealed.
type accumulator struct {
	cfg    *Config
	mem    *memory
	rounds rounds
	pool   sync.Pool // of batches
	wires  sync.Pool
	wake   func() // tells the loop that there is something new
	now    func() time.Time

	hurried atomic.Int64 // unix ns: batches begun by then linger no longer

	topics atomic.Pointer[map[string][]*partition] // replaced, never changed
	failed atomic.Pointer[error]                   // why nothing is taken any more
}

func newAccumulator(cfg *Config, wake func()) *accumulator {
	a := &accumulator{cfg: cfg, mem: newMemory(cfg.BufferMemory), wake: wake, now: time.Now}
	a.mem.onLow, a.mem.onWait = cfg.OnBufferLow, wake // what lingers makes room
	a.topics.Store(&map[string][]*partition{})
	a.rounds.init()
	a.pool.New = func() any {
		b := new(batch)
		b.body.Reset(make([]byte, 0, cfg.BatchSize))
		return b
	}
	a.wires.New = func() any { return new(wireBuffer) }
	return a
}

// partitions returns what is known of a topic, nil if nothing.
func (a *accumulator) partitions(topic string) []*partition { return (*a.topics.Load())[topic] }

// append takes a record, waiting for room in the buffer if there is none.
func (a *accumulator) append(ctx context.Context, r *Record) error {
	if err := a.failed.Load(); err != nil {
		return *err
	}
	size := r.Size()
	if size > a.cfg.MaxRequestSize || int64(size) > a.cfg.BufferMemory {
		return ErrTooLarge
	}
	if !r.Timestamp.IsZero() && r.Timestamp.UnixMilli() < 0 {
		return ErrTimestamp
	}
	parts := a.partitions(r.Topic)
	if r.Partition < 0 || int(r.Partition) >= len(parts) {
		return ErrUnknownTopic
	}
	pt := parts[r.Partition]
	pt.mu.Lock()
	closed := pt.closed
	taken, sealed := pt.tryAppend(r, a.cfg.BatchSize)
	pt.mu.Unlock()
	if sealed {
		a.wake()
	}
	if taken || closed != nil {
		return closed
	}
	b, err := a.newBatch(ctx, pt, size)
	if err != nil {
		return err
	}
	pt.mu.Lock()
	closed = pt.closed // the machine may have looked here for the last time
	if taken, _ = pt.tryAppend(r, a.cfg.BatchSize); !taken && closed == nil {
		b.born = a.now()
		if b.done == nil { // a new one: as large as the last, rather than grown step by step
			b.done = make([]Completion, 0, pt.lastCount+1)
		}
		b.append(r, a.cfg.BatchSize)
		pt.current = b
		if b.size() >= a.cfg.BatchSize {
			pt.sealCurrent()
		}
	}
	pt.mu.Unlock()
	if taken || closed != nil { // another caller was faster
		a.settle(b)
	}
	a.wake()
	return closed
}

// tryAppend appends to the current batch; one that has no room is sealed.
func (pt *partition) tryAppend(r *Record, limit int) (taken, sealed bool) {
	b := pt.current
	if b == nil || pt.closed != nil {
		return false, false
	}
	taken = b.append(r, limit)
	if !taken || b.size() >= limit {
		pt.sealCurrent()
		sealed = true
	}
	return taken, sealed
}

func (pt *partition) sealCurrent() {
	pt.stats.seal(pt.current)
	pt.lastCount = pt.current.count()
	pt.taken += int64(pt.lastCount)
	pt.ready = append(pt.ready, pt.current)
	pt.current = nil
}

// open counts what is in batches that are not sealed.
func (a *accumulator) open() (records, bytes int64) {
	for _, parts := range *a.topics.Load() {
		for _, pt := range parts {
			pt.mu.Lock()
			if b := pt.current; b != nil {
				records += int64(b.count())
				bytes += int64(b.size())
			}
			pt.mu.Unlock()
		}
	}
	return records, bytes
}

func (a *accumulator) newBatch(ctx context.Context, pt *partition, size int) (*batch, error) {
	charge := int64(max(a.cfg.BatchSize, size))
	if err := a.mem.take(ctx, charge, a.cfg.MaxBlock); err != nil {
		return nil, err
	}
	b := a.pool.Get().(*batch)
	b.part, b.charge, b.round, b.pid, b.epoch = pt, charge, a.rounds.enter(), -1, -1
	return b, nil
}

// settle gives a batch's memory back; its records have been told.
func (a *accumulator) settle(b *batch) {
	charge, r := b.charge, b.round
	if b.wire != nil {
		a.wires.Put(b.wire)
	}
	clear(b.done)
	memory := b.body.Bytes()
	*b = batch{done: b.done[:0]}
	if cap(memory) == a.cfg.BatchSize {
		b.body.Reset(memory)
		a.pool.Put(b)
	}
	a.mem.give(charge)
	a.rounds.leave(r)
}

// collect moves what is due to the machine's queue: what is sealed, and what has
// lingered, or was begun by hurried. It returns when the current batch will be due, and
// whether it was.
func (pt *partition) collect(now time.Time, linger time.Duration, hurried time.Time) (due time.Time, aged bool) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if b := pt.current; b != nil {
		due = b.born.Add(linger)
		if linger <= 0 || !due.After(now) || !b.born.After(hurried) {
			pt.sealCurrent()
			due, aged = time.Time{}, true
		}
	}
	pt.queue = append(pt.queue, pt.ready...)
	clear(pt.ready)
	pt.ready = pt.ready[:0]
	return due, aged
}

// close makes append refuse everything, even what is in the midst of it.
func (pt *partition) close(err error) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	pt.closed = err
}

// fail makes append refuse everything.
func (a *accumulator) fail(err error) { a.failed.CompareAndSwap(nil, &err) }
