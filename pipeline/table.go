package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// GlobalTable is a node of a pipeline's graph that holds the latest value of each
// key of a compacted topic. It is global: every worker reads all of the topic,
// outside the consumer group and read_committed. [Run] loads it to the end before
// the pipeline starts and then follows it; a tombstone deletes its key.
//
// Get may be called from any goroutine. The table follows its topic on its own,
// so a look-up sees what has arrived by then: it is not part of the transaction
// and a replay may see newer entries.
type GlobalTable[K comparable, V any] struct {
	topic string
	inUse atomic.Bool
	state atomic.Pointer[tableState[K, V]]
}

type tableState[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]V
	bytes   map[K]int64
	size    int64
}

// tableNode is a GlobalTable without its types.
type tableNode interface {
	topicName() string
	// acquire empties the table for a load; it fails while another run has it.
	acquire() error
	release()
	// apply takes one entry of the topic.
	apply(ctx context.Context, r *Raw) error
	stats() (entries int, bytes int64)
	node() *node
}

type typedTable[K comparable, V any] struct {
	*GlobalTable[K, V]
	n      *node
	keys   Serde[K]
	values Serde[V]
}

// Table adds a table over a compacted topic. Entries whose key or value cannot be
// decoded are the table's error under its policy: Fail stops the pipeline, Skip
// leaves the entry out, and with ToDeadLetter the entry is left out and written
// to the dead-letter topic, once for every time that the table is loaded.
func Table[K comparable, V any](p *Pipeline, topic string, keys Serde[K], values Serde[V], opts ...StageOption) *GlobalTable[K, V] {
	t := &GlobalTable[K, V]{topic: topic}
	t.reset()
	n := p.add(&node{name: topic, kind: kindTable, label: "table", topics: []string{topic}, serde: values, keys: keys, decode: decodesAny(values)})
	n.configure(opts)
	if n.cfg.partitioner != nil || n.cfg.headers != nil || n.cfg.hasTombs {
		p.mistake("table %q: a table takes only OnError and Timeout", topic)
	}
	n.refuseRetries()
	if n.cfg.policy.retries > 0 || n.cfg.timeout > 0 {
		p.mistake("table %q: Retry and Timeout are for stages; a table's entries are only decoded", topic)
	}
	if keys == nil {
		p.mistake("table %q has no key serde", topic)
	}
	p.tables = append(p.tables, &typedTable[K, V]{GlobalTable: t, n: n, keys: keys, values: values})
	return t
}

func (p *Pipeline) tableTopics() []string { return p.topics(kindTable) }

// Topic returns the table's topic.
func (t *GlobalTable[K, V]) Topic() string { return t.topic }

// Get returns the value of a key. It never fails and does not block.
func (t *GlobalTable[K, V]) Get(_ context.Context, key K) (value V, ok bool, err error) {
	s := t.state.Load()
	s.mu.RLock()
	value, ok = s.entries[key]
	s.mu.RUnlock()
	return value, ok, nil
}

// Len returns the number of keys.
func (t *GlobalTable[K, V]) Len() int {
	s := t.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries)
}

func (t *GlobalTable[K, V]) reset() {
	t.state.Store(&tableState[K, V]{entries: map[K]V{}, bytes: map[K]int64{}})
}

func (t *typedTable[K, V]) topicName() string { return t.topic }
func (t *typedTable[K, V]) node() *node       { return t.n }
func (t *typedTable[K, V]) release()          { t.inUse.Store(false) }

func (t *typedTable[K, V]) acquire() error {
	if !t.inUse.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: table %q is in use by another run of this pipeline value; build one for each worker", ErrInvalid, t.topic)
	}
	t.reset()
	return nil
}

func (t *typedTable[K, V]) stats() (int, int64) {
	s := t.state.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries), s.size
}

func (t *typedTable[K, V]) apply(ctx context.Context, r *Raw) (err error) {
	defer func() {
		if v := recover(); v != nil { // in a serde: no lock is held there
			err = t.fail(r, &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	key, err := t.key(ctx, r)
	if err != nil {
		return t.fail(r, fmt.Errorf("key: %w", err))
	}
	var value V
	if r.Value != nil {
		if value, err = t.values.Decode(ctx, Slot{Topic: t.topic, Headers: &r.Headers}, r.Value); err != nil {
			return t.fail(r, fmt.Errorf("value: %w", err))
		}
	}
	s := t.state.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size -= s.bytes[key]
	if r.Value == nil {
		delete(s.entries, key)
		delete(s.bytes, key)
		return nil
	}
	s.entries[key] = value
	s.bytes[key] = int64(len(r.Key) + len(r.Value))
	s.size += s.bytes[key]
	return nil
}

var errNullKey = errors.New("an entry of a table has no key")

func (t *typedTable[K, V]) key(ctx context.Context, r *Raw) (key K, err error) {
	if r.Key == nil {
		return key, errNullKey
	}
	return t.keys.Decode(ctx, Slot{Topic: t.topic, Key: true, Headers: &r.Headers}, r.Key)
}

func (t *typedTable[K, V]) fail(r *Raw, err error) error {
	return &StageError{Pipeline: t.n.p.name, Stage: t.n.name, Origin: r.Origin, Err: err, policy: t.n.policy()}
}

// applyToTable takes one entry of a table's topic under the table's policy.
func (w *Worker) applyToTable(ctx context.Context, t tableNode, r *Raw) error {
	for try := 0; ; try++ {
		err := t.apply(ctx, r)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case IsRetriable(err):
			if !sleep(ctx, unlimitedBackoff.Wait(try)) {
				return context.Cause(ctx)
			}
			continue
		case IsFatal(err):
			return err
		}
		return w.settleEntry(r, err)
	}
}

func (w *Worker) settleEntry(r *Raw, err error) error {
	se, ok := errors.AsType[*StageError](err)
	if !ok {
		return err
	}
	switch se.policy.action {
	case actionSkip:
		w.cfg.stats.skipped.Add(1)
		w.meter.troubled(se.Stage, func(t *trouble) { t.skipped++ })
		return nil
	case actionDeadLetter:
		o, err := w.dead.letter(w.p.deadLetter, r.Origin, r, 0, se, w.maxRecord)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.side = append(w.side, o)
		w.mu.Unlock()
		w.cfg.stats.deadLetters.Add(1)
		w.observers.ofTable(DeadLettered{At: time.Now(), Stage: se.Stage, Err: se.Err, Record: *r})
		return nil
	default:
		return se
	}
}
