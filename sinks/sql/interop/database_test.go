package interop

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

// database is one that the tests run on.
type database struct {
	name    string
	dialect sqlsink.Dialect
	driver  driver.Driver
	fresh   func(t testing.TB) (dsn string)
}

// databases are those that there are.
var databases = []database{{
	name: "sqlite", dialect: sqlsink.SQLite, driver: &sqlite.Driver{},
	fresh: func(t testing.TB) string {
		return "file:" + filepath.Join(t.TempDir(), "test.db") + "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"
	},
}}

func on(t *testing.T, test func(t *testing.T, d database)) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) { test(t, d) })
	}
}

func named(name string) database {
	return databases[slices.IndexFunc(databases, func(d database) bool { return d.name == name })]
}

// open opens a database, whose connections may break, and closes it at the test's end.
func (d database) open(t testing.TB, dsn string, f *checksql.Faults) *sql.DB {
	t.Helper()
	db := checksql.Open(d.driver, dsn, f)
	t.Cleanup(func() { db.Close() })
	return db
}

// setup makes the tables. An effect that comes twice is there twice.
func setup(t testing.TB, db *sql.DB) {
	t.Helper()
	for _, query := range []string{
		"CREATE TABLE effects (value TEXT NOT NULL CHECK (value NOT LIKE 'bad%'), part INTEGER NOT NULL)",
		"CREATE TABLE totals (part INTEGER PRIMARY KEY, n INTEGER NOT NULL)",
		"CREATE TABLE letters (value TEXT NOT NULL)",
		"INSERT INTO totals VALUES (0, 0), (1, 0), (2, 0), (3, 0)",
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
}

func newPipeline(name string) *pipeline.Pipeline { return newPipelineOf(name, "in") }

func newPipelineOf(name, topic string) *pipeline.Pipeline {
	p := pipeline.New(name, pipeline.DeadLetter("dlq"))
	pipeline.To(pipeline.From(p, topic, serde.String()), "effects", serde.String())
	return p
}

// newSink writes with an insert and an update that shows each repetition.
func newSink(d database, db *sql.DB, more ...func(*sqlsink.Config)) *sqlsink.Sink {
	cfg := sqlsink.Config{
		DB: db, Dialect: d.dialect, Timeout: 5 * time.Second,
		Writers: []sqlsink.Writer{
			sqlsink.Write("effects", serde.String(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[string]) error {
				if _, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES ($1, $2)", r.Value, r.Origin.Partition); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, "UPDATE totals SET n = n + 1 WHERE part = $1", r.Origin.Partition)
				return err
			}),
			sqlsink.Write("dlq", serde.String(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[string]) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO letters VALUES ($1)", r.Value)
				return err
			}),
		},
	}
	for _, f := range more {
		f(&cfg)
	}
	return sqlsink.New(cfg)
}

// check compares what is in the database with what was fed.
func check(db *sql.DB, want []string, letters int) error {
	rows, err := db.Query("SELECT value FROM effects")
	if err != nil {
		return err
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return err
		}
		got = append(got, v)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		lost, doubled := difference(want, got)
		return fmt.Errorf("%d effects, want %d; lost %q, doubled %q", len(got), len(want), lost, doubled)
	}
	var total, dead int
	if err := db.QueryRow("SELECT SUM(n) FROM totals").Scan(&total); err != nil {
		return err
	}
	if err := db.QueryRow("SELECT COUNT(*) FROM letters").Scan(&dead); err != nil {
		return err
	}
	if total != len(want) || dead != letters {
		return fmt.Errorf("the totals are %d and there are %d dead letters, want %d and %d", total, dead, len(want), letters)
	}
	return nil
}

func difference(want, got []string) (lost, doubled []string) {
	n := map[string]int{}
	for _, v := range want {
		n[v]++
	}
	for _, v := range got {
		n[v]--
	}
	for v, n := range n {
		if n > 0 {
			lost = append(lost, v)
		} else if n < 0 {
			doubled = append(doubled, v)
		}
	}
	return lost, doubled
}

func cluster() *pipelinetest.Cluster {
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(newPipeline("test"), 2), BatchRecords: 3})
}

// feed feeds n records to each of two partitions; those numbered 5, 12 … are refused.
func feed(c *pipelinetest.Cluster, n int) (want []string, bad int) {
	for i := range n {
		for part := range int32(2) {
			v := fmt.Sprintf("%d-%d", part, i)
			if i%7 == 5 {
				v = "bad" + v
				bad++
			} else {
				want = append(want, v)
			}
			c.Feed("in", pipelinetest.Text(v, v).On(part))
		}
	}
	return want, bad
}

var often = pipelinetest.Engine(pipeline.CommitEvery(5*time.Millisecond, 6, 0))
