// Package sqltable looks rows up by key, over database/sql, for the stages that enrich:
// stages.Enrich asks for one key at a time, stages.EnrichAsync for many with one query.
// Put stages.Cached before it if the same keys come again.
package sqltable

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/database"
)

// Dialect is which database it is.
type Dialect = database.Dialect

// The dialects, each tried on the real database.
const (
	// Postgres is PostgreSQL, with a driver whose errors have SQLState(), such as pgx.
	Postgres = database.Postgres
	// SQLite is SQLite, with modernc.org/sqlite or another driver whose errors have Code().
	SQLite = database.SQLite
)

// ErrTwoRows is the error of a key for which the query gives more than one row.
var ErrTwoRows = errors.New("the query gives more than one row for a key")

// Config configures a [Table]. DB, Dialect, Query and Scan are required; every other
// field's zero value means its default.
type Config[K comparable, V any] struct {
	// DB is the database. Look-ups use as many connections as are made at once: see
	// SetMaxOpenConns. The table never closes it.
	DB *sql.DB
	// Dialect is which database it is.
	Dialect Dialect
	// Query selects the rows of some keys. It has one question mark, where the keys go,
	// whatever the database calls its placeholders: SELECT id, name FROM users WHERE id IN (?).
	Query string
	// Scan reads the row that rows stands at, its key and its value, with rows.Scan. The key must be
	// equal to the one that was asked for, or it counts as not found.
	Scan func(rows *sql.Rows) (K, V, error)
	// Array, if not nil, makes one argument of all keys, for drivers that know arrays:
	// WHERE id = ANY(?). Default: one placeholder for each key; their number is rounded
	// up to a power of two, by repeating the last, so that the database sees few
	// different statements.
	Array func(keys []K) any
	// MaxKeys is how many keys a query has at most; more are asked for by several.
	// Default: 500.
	MaxKeys int
	// Timeout bounds a query. The stage's own Timeout bounds all of a look-up.
	// Default: 10 s.
	Timeout time.Duration
}

const (
	defaultMaxKeys = 500
	defaultTimeout = 10 * time.Second
	maxMaxKeys     = 1 << 14 // SQLite takes 32,766 arguments
)

// Validate reports every mistake at once.
func (c Config[K, V]) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf("sqltable: "+format, args...)) }
	if c.DB == nil {
		report("DB is not set")
	}
	if !c.Dialect.Known() {
		report("Dialect is not set; use sqltable.Postgres or sqltable.SQLite")
	}
	if n := strings.Count(c.Query, "?"); n != 1 {
		report("Query has %d question marks; use one, where the keys go", n)
	}
	if c.Scan == nil {
		report("Scan is not set")
	}
	if c.MaxKeys < 0 || c.MaxKeys > maxMaxKeys {
		report("MaxKeys is %d; use 1 to %d", c.MaxKeys, maxMaxKeys)
	}
	if c.Timeout < 0 {
		report("Timeout must not be negative")
	}
	return errors.Join(bad...)
}

// Table looks rows up. It is a stages.Table and a stages.BatchTable, and safe for concurrent
// use.
//
// A lost connection, a deadlock and the like are marked with pipeline.Retriable: the
// record waits. A statement that the database does not understand, or has no rights for, fails the
// pipeline. What else goes wrong is the record's error. A look-up costs a query: its round
// trip, and some 30 allocations of database/sql and the driver; many keys in one, a few for each key.
type Table[K comparable, V any] struct {
	cfg Config[K, V]
}

// New returns a table, or says what is wrong with its configuration. It does not
// connect.
func New[K comparable, V any](cfg Config[K, V]) (*Table[K, V], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, defaultMaxKeys)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	return &Table[K, V]{cfg: cfg}, nil
}

// Get returns the row of a key, and false if there is none.
func (t *Table[K, V]) Get(ctx context.Context, key K) (value V, found bool, err error) {
	rows, err := t.query(ctx, []K{key})
	if err != nil {
		return value, false, err
	}
	value, found = rows[key]
	return value, found, nil
}

// GetMany returns the rows of the keys that there are.
func (t *Table[K, V]) GetMany(ctx context.Context, keys []K) (map[K]V, error) {
	if len(keys) <= t.cfg.MaxKeys {
		return t.query(ctx, keys)
	}
	all := make(map[K]V, len(keys))
	for len(keys) > 0 {
		n := min(t.cfg.MaxKeys, len(keys))
		found, err := t.query(ctx, keys[:n])
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
		keys = keys[n:]
	}
	return all, nil
}

func (t *Table[K, V]) query(ctx context.Context, keys []K) (map[K]V, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	query, args := t.statement(keys)
	found, err := t.read(ctx, query, args, len(keys))
	if err != nil {
		return nil, fmt.Errorf("look-up of %d keys: %w", len(keys), t.cfg.Dialect.Classify(err))
	}
	return found, nil
}

// statement returns the query for some keys.
func (t *Table[K, V]) statement(keys []K) (query string, args []any) {
	if t.cfg.Array != nil {
		return t.cfg.Dialect.Numbered(t.cfg.Query), []any{t.cfg.Array(keys)}
	}
	n := min(1<<bits.Len(uint(len(keys)-1)), t.cfg.MaxKeys)
	args = make([]any, n)
	for i := range args {
		args[i] = keys[min(i, len(keys)-1)]
	}
	marks := "?" + strings.Repeat(", ?", n-1)
	return t.cfg.Dialect.Numbered(strings.Replace(t.cfg.Query, "?", marks, 1)), args
}

func (t *Table[K, V]) read(ctx context.Context, query string, args []any, n int) (_ map[K]V, err error) {
	rows, err := t.cfg.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[K]V, n)
	for rows.Next() {
		key, value, err := t.cfg.Scan(rows)
		if err != nil {
			return nil, err
		}
		if _, twice := found[key]; twice {
			return nil, ErrTwoRows
		}
		found[key] = value
	}
	return found, rows.Err()
}
