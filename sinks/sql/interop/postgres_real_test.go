//go:build real

package interop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

var schemas atomic.Int64

// Each test has a schema of its own.
func init() {
	databases = append(databases, database{
		name: "postgres", dialect: sqlsink.Postgres, driver: stdlib.GetDefaultDriver(),
		fresh: func(t testing.TB) string {
			t.Helper()
			dsn := os.Getenv("LEAT_TEST_POSTGRES")
			if dsn == "" {
				t.Fatal("LEAT_TEST_POSTGRES is not set; scripts/test-sql sets it")
			}
			db, err := sql.Open("pgx", dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			schema := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
			if _, err := db.Exec("CREATE SCHEMA " + schema); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = db.Exec("DROP SCHEMA " + schema + " CASCADE") })
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set("search_path", schema)
			q.Set("application_name", schema)
			u.RawQuery = q.Encode()
			return u.String()
		},
	})
}

// The server ends connections again and again, wherever they are.
func TestTerminatedConnections(t *testing.T) {
	d := named("postgres")
	dsn := d.fresh(t)
	db, other := d.open(t, dsn, nil), d.open(t, strings.Replace(dsn, "application_name=", "application_name=other_", 1), nil)
	setup(t, other)
	c := cluster()
	p := newPipeline("test")
	w := c.Start(t.Context(), p, pipelinetest.Into(func() pipeline.Sink { return newSink(d, db) }), often)
	var want []string
	bad, ended := 0, 0
	checktest.Await(t, "the worker's start", 30*time.Second, func() bool { return w.Stats().Sessions > 0 })
	for round := range 10 {
		for i := range 30 {
			v := fmt.Sprintf("%d-%d", round, i)
			if i == 5 {
				v, bad = "bad"+v, bad+1
			} else {
				want = append(want, v)
			}
			c.Feed("in", pipelinetest.Text(v, v))
		}
		checktest.Await(t, "a connection to end", 30*time.Second, func() bool {
			var n int
			err := other.QueryRow(`SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE application_name = current_setting('search_path')`).Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			ended += n
			return n > 0
		})
		select {
		case <-w.Done():
			t.Fatal(w.Wait())
		case <-time.After(time.Duration(round) * 6 * time.Millisecond):
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.AwaitFinished(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if err := check(other, want, bad); err != nil {
		t.Error(err)
	}
	t.Logf("%d connections ended, %d aborts, %d sessions", ended, w.Stats().Aborts, w.Stats().Sessions)
}

// An error that a write function keeps for itself makes PostgreSQL roll back at the
// COMMIT, again and again.
func TestSwallowedError(t *testing.T) {
	d := named("postgres")
	db := d.open(t, d.fresh(t), nil)
	setup(t, db)
	err := runOne(t, d, db, func(ctx context.Context, tx *sql.Tx) error {
		_, _ = tx.ExecContext(ctx, "INSERT INTO effects VALUES ('bad', 0)")
		return nil
	})
	if !pipeline.IsFatal(err) || !strings.Contains(err.Error(), "25P02") {
		t.Errorf("Run: %v, want the fatal 25P02", err)
	}
}

// A statement that the database does not understand is everyone's error, not the
// record's.
func TestMissingTable(t *testing.T) {
	d := named("postgres")
	db := d.open(t, d.fresh(t), nil)
	setup(t, db)
	err := runOne(t, d, db, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO nowhere VALUES (1)")
		return err
	})
	if !pipeline.IsFatal(err) || !strings.Contains(err.Error(), "42P01") {
		t.Errorf("Run: %v, want the fatal 42P01", err)
	}
}

// Workers whose transactions wait for each other are told apart by the server: one is
// rolled back and goes on.
func TestDeadlock(t *testing.T) {
	d := named("postgres")
	db := d.open(t, d.fresh(t), nil)
	setup(t, db)
	c := cluster()
	want := map[int32]int{}
	for i := range 200 {
		part := int32(i % 2)
		want[part]++
		c.Feed("in", pipelinetest.Text("k", fmt.Sprint(i)).On(part))
	}
	// Partition 0 updates row 0 and then 1, partition 1 the other way round.
	into := pipelinetest.Into(func() pipeline.Sink {
		return newSink(d, db, func(cfg *sqlsink.Config) {
			cfg.Writers[0] = sqlsink.Write("effects", serde.String(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[string]) error {
				for _, row := range []int32{r.Origin.Partition, 1 - r.Origin.Partition} {
					if _, err := tx.ExecContext(ctx, "UPDATE totals SET n = n + 1 WHERE part = $1", row); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
	p := newPipeline("test")
	c.Move("test", "in", 0, "a")
	c.Move("test", "in", 1, "b")
	a := c.Start(t.Context(), p, into, often, pipelinetest.Instance("a"))
	b := c.Start(t.Context(), newPipeline("test"), into, often, pipelinetest.Instance("b"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.AwaitFinished(ctx, p); err != nil {
		t.Error(err)
	}
	if err := errors.Join(a.Stop(), b.Stop()); err != nil {
		t.Error(err)
	}
	for part := range int32(2) {
		var n int
		if err := db.QueryRow("SELECT n FROM totals WHERE part = $1", part).Scan(&n); err != nil || n != 200 {
			t.Errorf("total %d is %d (%v), want 200", part, n, err)
		}
	}
	t.Logf("%d and %d aborts", a.Stats().Aborts, b.Stats().Aborts)
}

// runOne runs one record through a write function.
func runOne(t *testing.T, d database, db *sql.DB, write func(context.Context, *sql.Tx) error) error {
	t.Helper()
	c := cluster()
	c.Feed("in", pipelinetest.Text("x", "x"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return c.Run(ctx, newPipeline("test"), often, pipelinetest.Into(func() pipeline.Sink {
		return newSink(d, db, func(cfg *sqlsink.Config) {
			cfg.Writers[0] = sqlsink.Write("effects", serde.String(), func(ctx context.Context, tx *sql.Tx, _ *pipeline.Record[string]) error {
				return write(ctx, tx)
			})
		})
	}))
}
