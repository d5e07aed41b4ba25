package stages

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/leat-stream/leat/pipeline"
)

// CachedConfig sets a cache's bounds. The zero value works.
type CachedConfig struct {
	// TTL is how long a value is used after its look-up. Default 1 minute;
	// [Forever] never looks up again while the entry stays in the cache.
	TTL time.Duration
	// NegativeTTL is how long it is remembered that a key was not found. 0, the
	// default, does not remember it.
	NegativeTTL time.Duration
	// RefreshAhead is how long before the end of its TTL a value is looked up again by
	// the first who asks for it, who waits for that look-up; the others are given the old
	// value meanwhile. So is the first if the look-up fails, and it is tried again when
	// half of the rest has passed. At most half of TTL; it is not for NegativeTTL. 0, the
	// default, lets values expire, and all wait who ask then.
	RefreshAhead time.Duration
	// MaxBytes bounds what the entries cost together, in bytes; an entry that
	// costs more on its own is not kept. Default 64 MiB.
	MaxBytes int64
	// MaxEntries bounds the number of entries. Default 100,000.
	MaxEntries int
}

// Forever as a [CachedConfig]'s TTL or NegativeTTL lets entries stay until the
// bounds push them out.
const Forever time.Duration = -1

const (
	defaultTTL        = time.Minute
	defaultMaxBytes   = 64 << 20
	defaultMaxEntries = 100_000
)

// Cache is a [Table] with a cache before it; [Cached] makes one. It is safe for
// concurrent use, and one cache should serve all of a pipeline.
//
// A hit takes a lock, reads the clock and allocates nothing. Of several look-ups
// of a key at once, one goes to the table and the others wait for it. Errors are
// shared by those who waited and never kept. A waiter's context ends only its own
// wait, and if the context of the one who looks up ends, or its look-up panics,
// one of the others takes over.
//
// The least recently used entries make room for new ones. One that has expired is
// dropped when it is asked for, or when room is needed: there is no goroutine.
//
// It stands on hashicorp's simplelru, the part of that library without locks or
// clock: its expirable cache starts a goroutine that cannot be stopped and counts
// entries, not bytes. The single flight is our own because x/sync's takes string
// keys only and gives the first caller's cancellation to everyone.
type Cache[K comparable, V any] struct {
	table Table[K, V]
	cfg   CachedConfig
	cost  func(K, V) int

	mu      sync.Mutex
	entries *simplelru.LRU[K, cacheEntry[V]]
	flights map[K]*flight[V]
	stats   CacheStats
}

type cacheEntry[V any] struct {
	value   V
	found   bool
	expires time.Time // zero means never
	refresh time.Time // when it is to be looked up again, before that; zero means never
	cost    int64
}

// flight is one look-up in progress. The fields are written before done is closed
// and read after.
type flight[V any] struct {
	done      chan struct{}
	value     V
	found     bool
	err       error
	cost      int64
	abandoned bool // it ended for a reason that concerns only its caller
}

// Cached puts a cache before a table. An entry costs the size of its key and
// value, with the bytes of those that are strings or byte slices; what else a
// value refers to is not counted, see [CachedWithCost].
func Cached[K comparable, V any](table Table[K, V], cfg CachedConfig) *Cache[K, V] {
	return CachedWithCost(table, func(key K, value V) int { return extent(key) + extent(value) }, cfg)
}

// CachedWithCost is Cached for values that refer to others: cost returns what an
// entry takes, in bytes, and is called once for each look-up that found something.
func CachedWithCost[K comparable, V any](table Table[K, V], cost func(key K, value V) int, cfg CachedConfig) *Cache[K, V] {
	if cfg.TTL == 0 {
		cfg.TTL = defaultTTL
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = defaultMaxEntries
	}
	cfg.RefreshAhead = max(0, min(cfg.RefreshAhead, cfg.TTL/2))
	c := &Cache[K, V]{table: table, cfg: cfg, cost: cost, flights: map[K]*flight[V]{}}
	lru, err := simplelru.NewLRU(cfg.MaxEntries, c.removed)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	c.entries = lru
	return c
}

// entryOverhead is what the list, the map and the entry itself take, roughly.
const entryOverhead = 128

func extent[T any](v T) int {
	n := int(unsafe.Sizeof(v))
	switch x := any(v).(type) {
	case string:
		n += len(x)
	case []byte:
		n += len(x)
	}
	return n
}

// Get returns the value of a key, from the cache or from the table. Its errors are
// the table's, or the context's if that ended first.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (value V, found bool, err error) {
	for first := true; ; first = false {
		c.mu.Lock()
		if e, ok := c.fresh(key); ok {
			if f := c.due(key, e); f != nil {
				c.mu.Unlock()
				return c.lookUpAhead(ctx, key, f, e)
			}
			if first {
				c.stats.Hits++
			}
			c.mu.Unlock()
			return e.value, e.found, nil
		}
		if first {
			c.stats.Misses++
		}
		f := c.flights[key]
		if f == nil {
			f = c.begin(key)
			c.mu.Unlock()
			return c.lookUp(ctx, key, f)
		}
		c.mu.Unlock()

		select {
		case <-f.done:
		case <-ctx.Done():
			return value, false, fmt.Errorf("waiting for another look-up of the same key: %w", context.Cause(ctx))
		}
		if !f.abandoned {
			return f.value, f.found, f.err
		}
	}
}

func (c *Cache[K, V]) fresh(key K) (e cacheEntry[V], ok bool) {
	e, ok = c.entries.Get(key)
	if ok && !e.expires.IsZero() && !time.Now().Before(e.expires) {
		c.entries.Remove(key)
		return e, false
	}
	return e, ok
}

// due begins the look-up of an entry that is to be refreshed, if nobody else does.
func (c *Cache[K, V]) due(key K, e cacheEntry[V]) *flight[V] {
	if e.refresh.IsZero() || c.flights[key] != nil || time.Now().Before(e.refresh) {
		return nil
	}
	c.stats.Misses++
	return c.begin(key)
}

// lookUpAhead falls back on the entry that is there.
func (c *Cache[K, V]) lookUpAhead(ctx context.Context, key K, f *flight[V], old cacheEntry[V]) (V, bool, error) {
	value, found, err := c.lookUp(ctx, key, f)
	if err != nil && c.postpone(key, old) {
		return old.value, old.found, nil
	}
	return value, found, err
}

// postpone has an entry tried again when half of the rest of its life has passed. It
// reports false if there is nothing left of it.
func (c *Cache[K, V]) postpone(key K, old cacheEntry[V]) bool {
	rest := time.Until(old.expires)
	if rest <= 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries.Peek(key); ok && e.refresh.Equal(old.refresh) { // it is still the same
		e.refresh = time.Now().Add(rest / 2)
		c.entries.Add(key, e)
	}
	return true
}

func (c *Cache[K, V]) begin(key K) *flight[V] {
	f := &flight[V]{done: make(chan struct{}), abandoned: true}
	c.flights[key] = f
	return f
}

// lookUp runs on the goroutine of the first that asked, so that a panic is its own.
func (c *Cache[K, V]) lookUp(ctx context.Context, key K, f *flight[V]) (V, bool, error) {
	defer func() {
		c.mu.Lock()
		c.end(key, f)
		c.mu.Unlock()
		close(f.done)
	}()
	f.value, f.found, f.err = c.table.Get(ctx, key)
	if f.found && f.err == nil {
		f.cost = int64(c.cost(key, f.value))
	}
	f.abandoned = f.err != nil && ctx.Err() != nil // last: a panic leaves it set
	return f.value, f.found, f.err
}

// end takes a flight off the list and keeps what it has brought.
func (c *Cache[K, V]) end(key K, f *flight[V]) {
	if c.flights[key] != f { // it was forgotten meanwhile
		return
	}
	delete(c.flights, key)
	if !f.abandoned && f.err == nil {
		c.keep(key, f)
	}
}

func (c *Cache[K, V]) keep(key K, f *flight[V]) {
	c.entries.Remove(key) // the one before, if it was refreshed
	ttl := c.cfg.TTL
	if !f.found {
		ttl = c.cfg.NegativeTTL
	}
	if ttl == 0 {
		return
	}
	e := cacheEntry[V]{value: f.value, found: f.found, cost: entryOverhead + f.cost}
	if ttl > 0 {
		e.expires = time.Now().Add(ttl)
		if f.found && c.cfg.RefreshAhead > 0 {
			e.refresh = e.expires.Add(-c.cfg.RefreshAhead)
		}
	}
	if e.cost > c.cfg.MaxBytes {
		return
	}
	for c.stats.Entries >= c.cfg.MaxEntries || c.stats.Bytes+e.cost > c.cfg.MaxBytes {
		c.entries.RemoveOldest()
		c.stats.Evictions++
	}
	c.entries.Add(key, e)
	c.stats.Entries++
	c.stats.Bytes += e.cost
}

func (c *Cache[K, V]) removed(_ K, e cacheEntry[V]) {
	c.stats.Entries--
	c.stats.Bytes -= e.cost
}

// Forget drops a key: the next Get looks it up. What a look-up in progress finds
// goes to those who wait for it and is not kept.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Remove(key)
	delete(c.flights, key)
}

// CacheStats are a cache's counters since it was made, and its size now.
type CacheStats = pipeline.CacheStats

// Stats returns the counters and the size.
func (c *Cache[K, V]) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
