package sqlsink_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
	"github.com/leat-stream/leat/stages"
)

// tables are those of the tests. An effect that comes twice is there twice.
const tables = `
	CREATE TABLE IF NOT EXISTS effects (value TEXT NOT NULL CHECK (value NOT LIKE 'bad%'));
	CREATE TABLE IF NOT EXISTS lengths (value TEXT NOT NULL, bytes INTEGER NOT NULL);
	CREATE TABLE IF NOT EXISTS letters (value TEXT NOT NULL, stage TEXT NOT NULL, at INTEGER NOT NULL);`

// newDB returns a new database, on file as it would be, whose calls go through f if
// that is not nil.
func newDB(t testing.TB, f *checksql.Faults) *sql.DB {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "test.db") + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
	db := checksql.Open(&sqlite.Driver{}, dsn, f)
	if _, err := db.Exec(tables); err != nil {
		t.Fatal(err)
	}
	return db
}

// newPipeline has one output that is written record by record, one in batches, and dead
// letters.
func newPipeline() *pipeline.Pipeline {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(in, "effects", serde.String())
	pipeline.To(stages.Filter(in, "long", func(v string) bool { return len(v) > 2 }), "lengths", serde.String())
	return p
}

func writers() []sqlsink.Writer {
	return []sqlsink.Writer{
		sqlsink.Write("effects", serde.String(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[string]) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?)", r.Value)
			return err
		}),
		sqlsink.WriteBatch("lengths", serde.String(), 4, func(ctx context.Context, tx *sql.Tx, rs []pipeline.Record[string]) error {
			query := "INSERT INTO lengths VALUES (?, ?)" + strings.Repeat(", (?, ?)", len(rs)-1)
			var args []any
			for i := range rs {
				args = append(args, rs[i].Value, len(rs[i].Value))
			}
			_, err := tx.ExecContext(ctx, query, args...)
			return err
		}),
		sqlsink.Write("dlq", serde.Bytes(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[[]byte]) error {
			stage, _ := r.Headers.Get(pipeline.HeaderStage)
			_, err := tx.ExecContext(ctx, "INSERT INTO letters VALUES (?, ?, ?)", string(r.Value), string(stage), r.Origin.Offset)
			return err
		}),
	}
}

func newSink(db *sql.DB) *sqlsink.Sink {
	return sqlsink.New(sqlsink.Config{DB: db, Dialect: sqlsink.SQLite, Writers: writers()})
}

// into has a pipeline write to a database.
func into(db *sql.DB) pipelinetest.Option {
	return pipelinetest.Into(func() pipeline.Sink { return newSink(db) })
}

// feed feeds n records to each of two partitions, and some that are refused.
func feed(c *pipelinetest.Cluster, n int) (want []string) {
	for i := range n {
		for part := range int32(2) {
			v := fmt.Sprintf("%d-%d", part, i)
			if i%7 == 5 {
				v = "bad" + v
			} else {
				want = append(want, v)
			}
			c.Feed("in", pipelinetest.Text(v, v).On(part))
		}
	}
	slices.Sort(want)
	return want
}

// check compares what is in the database with what was fed.
func check(db *sql.DB, want []string, bad int) error {
	for _, table := range []string{"effects", "lengths"} {
		got, err := values(db, "SELECT value FROM "+table+" ORDER BY value")
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("table %s has %q, want %q", table, got, want)
		}
	}
	letters, err := values(db, "SELECT value FROM letters WHERE stage = 'effects'")
	if err != nil {
		return err
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(letters))); len(letters) != bad || len(distinct) != bad {
		return fmt.Errorf("%d dead letters, want %d, each once: %q", len(letters), bad, letters)
	}
	return nil
}

func values(db *sql.DB, query string) (got []string, err error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		got = append(got, v)
	}
	return got, rows.Err()
}

// often commits after few records, so that there are many transactions.
var often = pipelinetest.Engine(pipeline.CommitEvery(10*time.Millisecond, 6, 0))

func cluster(p *pipeline.Pipeline) *pipelinetest.Cluster {
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2), BatchRecords: 3})
}
