package stages

import (
	"context"
	"fmt"
)

// ManyCache is a [Cache] before a [BatchTable], and is one itself; [CachedMany] makes it.
type ManyCache[K comparable, V any] struct {
	*Cache[K, V]
	many BatchTable[K, V]
}

// CachedMany is [Cached] for a table that looks many keys up together.
func CachedMany[K comparable, V any](table BatchTable[K, V], cfg CachedConfig) *ManyCache[K, V] {
	return &ManyCache[K, V]{Cache: Cached(table, cfg), many: table}
}

// CachedManyWithCost is [CachedWithCost] for a table that looks many keys up together.
func CachedManyWithCost[K comparable, V any](table BatchTable[K, V], cost func(key K, value V) int, cfg CachedConfig) *ManyCache[K, V] {
	return &ManyCache[K, V]{Cache: CachedWithCost(table, cost, cfg), many: table}
}

// GetMany returns the values of those keys that there are. What is not in the cache, and
// not being looked up by somebody else, is looked up together; what is due to be refreshed
// goes along, and keeps its old value if that fails. Keys must be distinct. It may be
// called at any time, as Get may, and costs a few allocations each call besides the table's.
func (c *ManyCache[K, V]) GetMany(ctx context.Context, keys []K) (map[K]V, error) {
	found := make(map[K]V, len(keys))
	for first := true; ; first = false {
		s := c.sort(keys, found, first)
		if err := c.lookUpMany(ctx, s, found); err != nil {
			return nil, err
		}
		var err error
		if keys, err = await(ctx, s, found); err != nil {
			return nil, err
		}
		if len(keys) == 0 {
			return found, nil
		}
	}
}

// sorted says what is to be done for keys that a cache has no value of.
type sorted[K comparable, V any] struct {
	own     []K          // are looked up now
	flights []*flight[V] // theirs
	old     map[K]cacheEntry[V]
	foreign []K // are looked up by others
	awaited []*flight[V]
}

// sort takes what the cache has, and begins the look-ups of what nobody looks up.
func (c *ManyCache[K, V]) sort(keys []K, found map[K]V, first bool) (s sorted[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		e, ok := c.fresh(k)
		switch f := c.flights[k]; {
		case ok:
			if f := c.due(k, e); f != nil {
				if s.old == nil {
					s.old = map[K]cacheEntry[V]{}
				}
				s.old[k] = e
				s.own, s.flights = append(s.own, k), append(s.flights, f)
				continue
			}
			if first {
				c.stats.Hits++
			}
			if e.found {
				found[k] = e.value
			}
			continue
		case f != nil:
			s.foreign, s.awaited = append(s.foreign, k), append(s.awaited, f)
		default:
			s.own, s.flights = append(s.own, k), append(s.flights, c.begin(k))
		}
		if first {
			c.stats.Misses++
		}
	}
	return s
}

// lookUpMany looks up what sort has begun. All of it has ended when it returns.
func (c *ManyCache[K, V]) lookUpMany(ctx context.Context, s sorted[K, V], found map[K]V) (err error) {
	if len(s.own) == 0 {
		return nil
	}
	defer c.land(s)
	values, err := c.many.GetMany(ctx, s.own)
	for i, k := range s.own {
		f := s.flights[i]
		f.err = err
		if err == nil {
			if f.value, f.found = values[k]; f.found {
				f.cost = int64(c.cost(k, f.value))
				found[k] = f.value
			}
		}
	}
	for _, f := range s.flights { // last: a panic leaves them set
		f.abandoned = err != nil && ctx.Err() != nil
	}
	if err == nil {
		return nil
	}
	kept := 0
	for k, e := range s.old {
		if c.postpone(k, e) {
			kept++
			if e.found {
				found[k] = e.value
			}
		}
	}
	if kept == len(s.own) { // no other was asked for
		return nil
	}
	return err
}

// land ends look-ups, whatever has come of them.
func (c *ManyCache[K, V]) land(s sorted[K, V]) {
	c.mu.Lock()
	for i, k := range s.own {
		c.end(k, s.flights[i])
	}
	c.mu.Unlock()
	for _, f := range s.flights {
		close(f.done)
	}
}

// await waits for what others look up, and returns the keys that they have given up.
func await[K comparable, V any](ctx context.Context, s sorted[K, V], found map[K]V) (again []K, err error) {
	for i, f := range s.awaited {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another look-up of the same key: %w", context.Cause(ctx))
		}
		switch {
		case f.abandoned:
			again = append(again, s.foreign[i])
		case f.err != nil:
			return nil, f.err
		case f.found:
			found[s.foreign[i]] = f.value
		}
	}
	return again, nil
}
