package stages

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"github.com/leat-stream/leat/pipeline"
)

// store is what a stage knows of the keys of one partition: a value for each, in the order
// in which they were put. Every change is a record of the stage's state topic, put out with
// the record that it was made for; a key that is dropped for the bounds is a tombstone.
//
// A change is tentative until the engine settles it (see pipeline.Change): get sees it at
// once, bounds and order do not. What is settled is logged until a transaction has
// committed it, so that Aborted can undo it.
type store[V any] struct {
	sc      *pipeline.StageContext
	changes pipeline.Next[[]byte]
	codec   codec[V]
	bounds  bounds
	expired func(V) bool // whether a value is of no more use; nil means none is

	entries map[string]*entry[V]
	root    entry[V] // of a ring: next is the oldest
	len     int
	bytes   int64
	latest  time.Time // of what was put and kept

	log    []logged[V] // what is settled and not committed, oldest first
	handed int         // so many of them are in the transaction to be committed; the others came after
	put    int         // since the last BeforeCommit

	scratch pipeline.Record[[]byte]
	mem     chunk
	free    *version[V]
}

// codec is how values stand in the state topic.
type codec[V any] struct {
	encode func(mem *chunk, v V) []byte // not nil; may be kept
	decode func(data []byte) (V, error)
	size   func(v V) int       // in memory, beyond V itself
	at     func(v V) time.Time // what it was put for; nil if the topic's timestamp, which may be that of its log, will do
}

// bounds are those of one partition's state. What one transaction brings may go beyond.
type bounds struct {
	entries int // 0 means any number
	bytes   int64
}

const (
	// entryCost is what an entry takes beside its key and value, roughly.
	entryCost = 200
	// evictions is how many entries are dropped before a commit, or twice as many as were
	// put: tombstones are outputs, which are in memory all at once.
	evictions = 1024
)

// entry is a key that has a value, or may get one.
type entry[V any] struct {
	key        string
	value      V
	kept       bool // it has a value, and is in the ring
	prev, next *entry[V]
	top        *version[V] // the latest tentative change
}

// version is a tentative change.
type version[V any] struct {
	of           *store[V]
	entry        *entry[V]
	value        V
	has          bool
	at           time.Time
	above, below *version[V]
}

// logged is what an entry was before a change that was settled.
type logged[V any] struct {
	entry  *entry[V]
	value  V
	kept   bool
	after  *entry[V] // where it stood in the ring
	latest time.Time // of the store
}

// keep makes a stage's state, which takes part in the commits.
func keep[V any](sc *pipeline.StageContext, changes pipeline.Next[[]byte], c codec[V], b bounds) *store[V] {
	k := &store[V]{sc: sc, changes: changes, codec: c, bounds: b, entries: map[string]*entry[V]{}}
	k.root.prev, k.root.next = &k.root, &k.root
	sc.Hook(pipeline.Hooks{
		Assigned:     func(ctx context.Context) error { return sc.Restore(ctx, k.restore) },
		BeforeCommit: k.evict,
		HandedOver:   func() { k.handed = len(k.log) },
		Committed:    k.committed,
		Aborted:      k.aborted,
	})
	return k
}

// restore takes one record of the state topic.
func (k *store[V]) restore(r *pipeline.Raw) error {
	e := k.entries[string(r.Key)]
	if r.Value == nil {
		if e != nil {
			k.set(e, e.value, false)
			k.sweep(e)
		}
		return nil
	}
	v, err := k.codec.decode(r.Value)
	if err != nil {
		return fmt.Errorf("record %v of the state is not one of this stage, whose topic must be its own: %w", r.Origin, err)
	}
	if e == nil {
		e = &entry[V]{key: string(r.Key)}
		k.entries[e.key] = e
	}
	k.set(e, v, true)
	at := r.Timestamp
	if k.codec.at != nil {
		at = k.codec.at(v)
	}
	k.passed(at)
	return nil
}

// stringOf is bytes as a string, for a look-up, until they change.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// get returns a key's value. tentative says that it is not settled yet.
func (k *store[V]) get(key string) (v V, found, tentative bool) {
	e := k.entries[key]
	switch {
	case e == nil:
		return v, false, false
	case e.top != nil:
		return e.top.value, e.top.has, true
	}
	return e.value, e.kept, false
}

// change gives a key a value for the current record, or with has false takes it.
func (k *store[V]) change(ctx context.Context, key string, v V, has bool, at time.Time) error {
	e := k.entries[key]
	if e == nil {
		if !has {
			return nil
		}
		own := []byte(key) // the key may be a part of something large
		e = &entry[V]{key: unsafe.String(unsafe.SliceData(own), len(own))}
	}
	if err := k.emit(ctx, e.key, v, has, at); err != nil {
		return err
	}
	k.entries[e.key] = e
	n := k.free
	if n == nil {
		n = &version[V]{of: k}
	} else {
		k.free = n.below
	}
	n.entry, n.value, n.has, n.at, n.above, n.below = e, v, has, at, nil, e.top
	if e.top != nil {
		e.top.above = n
	}
	e.top = n
	k.sc.Changed(n)
	k.put++
	return nil
}

func (k *store[V]) passed(at time.Time) {
	if at.After(k.latest) {
		k.latest = at
	}
}

// emit puts a change out. A key is never changed, so its bytes serve as they are.
func (k *store[V]) emit(ctx context.Context, key string, v V, has bool, at time.Time) error {
	k.scratch = pipeline.Record[[]byte]{
		Key: unsafe.Slice(unsafe.StringData(key), len(key)), Timestamp: at, Origin: k.sc.Current(),
	}
	if has {
		k.scratch.Value = k.codec.encode(&k.mem, v)
	}
	return k.changes(ctx, &k.scratch)
}

// Settle is of [pipeline.Change].
func (n *version[V]) Settle(kept bool) {
	k, e := n.of, n.entry
	if n.above != nil {
		n.above.below = n.below
	} else {
		e.top = n.below
	}
	if n.below != nil {
		n.below.above = n.above
	}
	if kept {
		k.note(e)
		k.set(e, n.value, n.has)
		k.passed(n.at)
	}
	k.sweep(e)
	*n = version[V]{of: k, below: k.free}
	k.free = n
}

// note logs what an entry is, before it is changed.
func (k *store[V]) note(e *entry[V]) {
	k.log = append(k.log, logged[V]{e, e.value, e.kept, e.prev, k.latest})
}

// set changes an entry's value; it is the youngest then.
func (k *store[V]) set(e *entry[V], v V, has bool) {
	k.drop(e)
	if has {
		k.insert(e, v, k.root.prev)
	}
}

func (k *store[V]) insert(e *entry[V], v V, after *entry[V]) {
	e.value, e.kept = v, true
	e.prev, e.next = after, after.next
	e.prev.next, e.next.prev = e, e
	k.len++
	k.bytes += k.cost(e)
}

func (k *store[V]) drop(e *entry[V]) {
	if !e.kept {
		return
	}
	k.len--
	k.bytes -= k.cost(e)
	e.prev.next, e.next.prev = e.next, e.prev
	var none V
	e.value, e.kept, e.prev, e.next = none, false, nil, nil
}

func (k *store[V]) cost(e *entry[V]) int64 {
	return int64(entryCost + len(e.key) + k.codec.size(e.value))
}

// sweep forgets an entry that has no value, and will get none.
func (k *store[V]) sweep(e *entry[V]) {
	if !e.kept && e.top == nil && k.entries[e.key] == e {
		delete(k.entries, e.key)
	}
}

// evict drops the oldest entries beyond the bounds, and those that are expired.
func (k *store[V]) evict(ctx context.Context) error {
	left := max(evictions, 2*k.put)
	for e := k.root.next; e != &k.root && left > 0; {
		next := e.next
		over := k.bytes > k.bounds.bytes || k.bounds.entries > 0 && k.len > k.bounds.entries
		if !over && (k.expired == nil || !k.expired(e.value)) {
			break
		}
		if e.top == nil { // else it is being changed
			if err := k.emit(ctx, e.key, e.value, false, k.latest); err != nil {
				return err
			}
			k.note(e)
			k.drop(e)
			k.sweep(e)
			left--
		}
		e = next
	}
	k.put = 0
	return nil
}

func (k *store[V]) committed() {
	rest := copy(k.log, k.log[k.handed:])
	clear(k.log[rest:])
	k.log, k.handed = k.log[:rest], 0
}

// aborted undoes what was not committed, last first: so each entry finds its place again.
func (k *store[V]) aborted() {
	for len(k.log) > 0 {
		was := &k.log[len(k.log)-1]
		e := was.entry
		k.drop(e)
		if was.kept {
			k.entries[e.key] = e
			k.insert(e, was.value, was.after)
		}
		k.sweep(e)
		k.latest = was.latest
		*was = logged[V]{}
		k.log = k.log[:len(k.log)-1]
	}
	k.handed, k.put = 0, 0
}
