package stages

import (
	"context"
	"maps"
)

// Table is where [Enrich] looks values up. [pipeline.GlobalTable] is one, over a
// compacted topic; [NewMap] makes one of a map, [TableFunc] of a function, and
// [Cached] puts a cache before another.
//
// Get returns the value of a key, and false if there is none. It may be called
// from any goroutine, several at once, and must end when ctx does. An error is the
// record's; mark one that passes with [pipeline.Retriable] and one that is
// everyone's with [pipeline.Fatal]. A key that is not there is not an error.
type Table[K comparable, V any] interface {
	Get(ctx context.Context, key K) (value V, found bool, err error)
}

// BatchTable is a [Table] that can look up many keys at once, for [EnrichAsync]. Those
// that it has no value for are not in the map. The keys are each there once. What holds
// for Get holds for GetMany.
type BatchTable[K comparable, V any] interface {
	Table[K, V]
	GetMany(ctx context.Context, keys []K) (map[K]V, error)
}

// MapTable is a [Table] in memory that never changes.
type MapTable[K comparable, V any] struct{ entries map[K]V }

// NewMap returns a table with a copy of the entries.
func NewMap[K comparable, V any](entries map[K]V) *MapTable[K, V] {
	return &MapTable[K, V]{entries: maps.Clone(entries)}
}

// Get returns the value of a key. It never fails and does not block.
func (m *MapTable[K, V]) Get(_ context.Context, key K) (value V, found bool, err error) {
	value, found = m.entries[key]
	return value, found, nil
}

// Len returns the number of entries.
func (m *MapTable[K, V]) Len() int { return len(m.entries) }

// TableFunc is a function as a [Table]: a query, a call to a service. Put
// [Cached] before one that is slow.
type TableFunc[K comparable, V any] func(ctx context.Context, key K) (value V, found bool, err error)

// Get calls f.
func (f TableFunc[K, V]) Get(ctx context.Context, key K) (value V, found bool, err error) {
	return f(ctx, key)
}
