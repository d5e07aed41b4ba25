// Package sqlsink ends a pipeline in a database, over database/sql: what the pipeline has
// made of the input and how far it has read are written in one transaction of the
// database, so that each record has its effect once, whatever is killed when.
//
//	sink := sqlsink.New(sqlsink.Config{
//		DB: db, Dialect: sqlsink.Postgres,
//		Writers: []sqlsink.Writer{sqlsink.Write("orders", orders, insertOrder)},
//	})
//	err := pipeline.Run(ctx, p, kafkasource.New(kafkasource.Config{Brokers: brokers}), sink)
//
// The positions are in a table, leat_offsets, one row for each partition. Who is given a
// partition raises the epoch of its row; who commits must find the row as he left it. So
// a worker that has lost its partitions without knowing commits nothing.
//
// # What is promised
//
// With a source that asks the sink where to begin (that of sources/kafka does), each
// record's effect on this database is there exactly once: Run's default, pipeline.ExactlyOnce,
// is kept. What a write function does elsewhere happens at least once. With another source Run refuses
// ExactlyOnce with [pipeline.ErrGuarantee]; under AtLeastOnce the sink writes in transactions, too,
// but without positions.
//
// Positions are those of one topic in one cluster. If the topic is deleted and made again,
// Run fails with [ErrReplaced] until its rows are deleted, too (brokers before 2.8 do not tell).
package sqlsink

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
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

// Config configures a [Sink]. DB, Dialect and Writers are required; every other field's
// zero value means its default.
type Config struct {
	// DB is the database. The sink uses one connection for its transaction and another
	// while it is given partitions, and never closes it.
	DB *sql.DB
	// Dialect is which database it is.
	Dialect Dialect
	// Writers write the pipeline's outputs, one for each, that for the dead letters included.
	// What waits is written in their order: name what others refer to first.
	Writers []Writer
	// OffsetsTable is the table with the positions, made if it is not there. A name with a
	// schema is possible. Default: leat_offsets.
	OffsetsTable string
	// Owner is who the table says has taken a partition last, for people. Default: host
	// and process id.
	Owner string
	// Timeout bounds each wait for the database: a transaction in which nothing has ended for
	// so long is given up and its input replayed. It must be longer than a call of a
	// write function takes, locks included. Default: 10 s.
	Timeout time.Duration
	// Classify, if not nil, sees each error of a write function first. It may mark it
	// with pipeline.Retriable if it passes or pipeline.Fatal if it is everyone's; what it returns
	// unmarked is classified by its SQLSTATE or SQLite's code, and what is left is the
	// record's own and meets its policy.
	Classify func(error) error
}

const (
	defaultOffsetsTable = "leat_offsets"
	defaultTimeout      = 10 * time.Second
)

func (c Config) withDefaults() Config {
	c.OffsetsTable = cmp.Or(c.OffsetsTable, defaultOffsetsTable)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	if c.Owner == "" {
		host, _ := os.Hostname() // "" will do
		c.Owner = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	return c
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// maxText is the length of the text columns of the table.
const maxText = 255

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf("sqlsink: "+format, args...)) }
	if c.DB == nil {
		report("DB is not set")
	}
	if !c.Dialect.Known() {
		report("Dialect is not set; use sqlsink.Postgres or sqlsink.SQLite")
	}
	if c.OffsetsTable != "" && !tableName.MatchString(c.OffsetsTable) {
		report("OffsetsTable: %q is no name of a table; use letters, digits and _, with or without a schema", c.OffsetsTable)
	}
	if len(c.Owner) > maxText {
		report("Owner has %d bytes; use %d or fewer", len(c.Owner), maxText)
	}
	if c.Timeout < 0 {
		report("Timeout must not be negative")
	}
	if len(c.Writers) == 0 {
		report("Writers: there are none; nothing could be written")
	}
	seen := map[string]bool{}
	for i, w := range c.Writers {
		switch {
		case w.write == nil:
			report("Writers[%d] (%q): %w", i, w.topic, cmp.Or(w.mistake, errors.New("it was not made by Write or WriteBatch")))
		case seen[w.topic]:
			report("Writers: two are for %q", w.topic)
		}
		seen[w.topic] = true
	}
	return errors.Join(bad...)
}
