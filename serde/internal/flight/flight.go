// Package flight is the cache in front of look-ups that block: bounded, with
// reads that take no lock, and with one look-up at a time for each key however
// many goroutines ask.
package flight

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Cache keeps at most max values; the one that came first goes first. Values are
// kept for ever: it is meant for facts that never change. All methods may be
// called concurrently.
//
// A hit costs an atomic load and a map read and allocates nothing. An insertion
// copies the map: it follows a look-up over the network, which costs far more.
type Cache[K comparable, V any] struct {
	max      int
	negative func(error) time.Duration

	read atomic.Pointer[map[K]V] // never modified once stored
	last atomic.Pointer[pair[K, V]]

	mu    sync.Mutex
	order []K // of insertion
	calls map[K]*call[V]
	bad   map[K]failure
}

type pair[K comparable, V any] struct {
	key K
	val V
}

type call[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by Cache.mu
	val     V   // these two are set before done is closed
	err     error
}

type failure struct {
	err   error
	until time.Time
}

// New returns a cache of at most max values. The function negative says how long
// an error is kept and answered without a new look-up; nil, or a result of 0,
// means not at all. At most max errors are kept.
func New[K comparable, V any](max int, negative func(error) time.Duration) *Cache[K, V] {
	if max < 1 {
		max = 1
	}
	c := &Cache[K, V]{max: max, negative: negative, calls: map[K]*call[V]{}, bad: map[K]failure{}}
	c.read.Store(&map[K]V{})
	return c
}

// Peek returns the value of key if it is there. It never blocks or allocates.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	// What was loaded last is most often what is asked for: the newest schema of
	// a topic. It is written on insertion only, so readers share the cache line.
	if p := c.last.Load(); p != nil && p.key == key {
		return p.val, true
	}
	v, ok := (*c.read.Load())[key]
	return v, ok
}

// Len returns the number of values.
func (c *Cache[K, V]) Len() int { return len(*c.read.Load()) }

// Get returns the value of key, calling load if it is not there. Calls for one
// key share one load. It runs in a goroutine of its own with the values of the
// first caller's context but not its cancellation: a caller whose ctx ends stops
// waiting and the others are not affected; when the last one has left, load's
// context is cancelled. A panic in load becomes an error.
//
// The error for a caller that stopped waiting wraps its context's cause and is
// marked with [pipeline.Retriable]: nothing was learned about the key.
func (c *Cache[K, V]) Get(ctx context.Context, key K, load func(context.Context) (V, error)) (V, error) {
	var zero V
	if v, ok := c.Peek(key); ok {
		return v, nil
	}
	if ctx.Err() != nil {
		return zero, abandoned(ctx)
	}
	c.mu.Lock()
	if v, ok := c.Peek(key); ok {
		c.mu.Unlock()
		return v, nil
	}
	if f, ok := c.bad[key]; ok {
		if time.Now().Before(f.until) {
			c.mu.Unlock()
			return zero, f.err
		}
		delete(c.bad, key)
	}
	fl := c.calls[key]
	if fl == nil {
		loadCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &call[V]{done: make(chan struct{}), cancel: cancel}
		c.calls[key] = fl
		go c.run(loadCtx, key, fl, load)
	}
	fl.waiters++
	c.mu.Unlock()

	select {
	case <-fl.done:
		return fl.val, fl.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	fl.waiters--
	if fl.waiters == 0 {
		fl.cancel()
		if c.calls[key] == fl {
			// The next caller must not inherit a look-up that was cancelled.
			delete(c.calls, key)
		}
	}
	c.mu.Unlock()
	return zero, abandoned(ctx)
}

func abandoned(ctx context.Context) error {
	return pipeline.Retriable(fmt.Errorf("stopped waiting for the look-up: %w", context.Cause(ctx)))
}

func (c *Cache[K, V]) run(ctx context.Context, key K, fl *call[V], load func(context.Context) (V, error)) {
	fl.val, fl.err = guarded(ctx, load)
	fl.cancel()
	c.mu.Lock()
	if c.calls[key] == fl {
		delete(c.calls, key)
	}
	if fl.err == nil {
		c.store(key, fl.val)
	} else if c.negative != nil {
		if ttl := c.negative(fl.err); ttl > 0 {
			c.storeBad(key, failure{err: fl.err, until: time.Now().Add(ttl)})
		}
	}
	c.mu.Unlock()
	close(fl.done)
}

func guarded[V any](ctx context.Context, load func(context.Context) (V, error)) (v V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &pipeline.PanicError{Value: r}
		}
	}()
	return load(ctx)
}

// store needs c.mu.
func (c *Cache[K, V]) store(key K, v V) {
	old := *c.read.Load()
	if _, ok := old[key]; ok {
		return // by a look-up that was given up and finished all the same
	}
	m := make(map[K]V, len(old)+1)
	for k, x := range old {
		m[k] = x
	}
	for len(m) >= c.max {
		delete(m, c.order[0])
		c.order = c.order[1:]
	}
	m[key] = v
	c.order = append(c.order, key)
	c.read.Store(&m)
	c.last.Store(&pair[K, V]{key, v})
}

// storeBad needs c.mu.
func (c *Cache[K, V]) storeBad(key K, f failure) {
	if len(c.bad) >= c.max {
		now := time.Now()
		for k, x := range c.bad {
			if !now.Before(x.until) {
				delete(c.bad, k)
			}
		}
		for k := range c.bad {
			if len(c.bad) < c.max {
				break
			}
			delete(c.bad, k)
		}
	}
	c.bad[key] = f
}
