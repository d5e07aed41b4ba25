package sqltable_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
	sqltable "github.com/leat-stream/leat/tables/sql"
)

// users returns a database with users 1 to n.
func users(t testing.TB, n int) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "users.db"))
	if err == nil {
		_, err = db.Exec("CREATE TABLE users (id INTEGER, name TEXT)")
	}
	for i := 1; err == nil && i <= n; i++ {
		_, err = db.Exec("INSERT INTO users VALUES (?, ?)", i, fmt.Sprintf("user %d", i))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func scanUser(rows *sql.Rows) (id int, name string, err error) {
	err = rows.Scan(&id, &name)
	return id, name, err
}

func config(db *sql.DB) sqltable.Config[int, string] {
	return sqltable.Config[int, string]{
		DB: db, Dialect: sqltable.SQLite, Query: "SELECT id, name FROM users WHERE id IN (?)", Scan: scanUser,
	}
}

func table(t testing.TB, cfg sqltable.Config[int, string]) *sqltable.Table[int, string] {
	t.Helper()
	tab, err := sqltable.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestLookUp(t *testing.T) {
	cfg := config(users(t, 100))
	cfg.MaxKeys = 7
	tab := table(t, cfg)
	ctx := t.Context()
	if name, ok, err := tab.Get(ctx, 3); name != "user 3" || !ok || err != nil {
		t.Errorf("Get(3) = %q, %v, %v", name, ok, err)
	}
	if _, ok, err := tab.Get(ctx, 1000); ok || err != nil {
		t.Errorf("Get(1000) = %v, %v, want nothing", ok, err)
	}
	for _, n := range []int{0, 1, 2, 3, 5, 7, 8, 20, 120} {
		var keys []int
		want := map[int]string{}
		for i := 1; i <= n; i++ {
			keys = append(keys, i)
			if i <= 100 {
				want[i] = fmt.Sprintf("user %d", i)
			}
		}
		got, err := tab.GetMany(ctx, keys)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("GetMany of %d keys has %d (%v), want %d", n, len(got), err, len(want))
		}
	}
}

// What goes wrong is told apart: what passes, what is everyone's, what is the record's.
func TestErrors(t *testing.T) {
	db := users(t, 2)
	if _, err := db.Exec("INSERT INTO users VALUES (2, 'again')"); err != nil {
		t.Fatal(err)
	}
	_, _, err := table(t, config(db)).Get(t.Context(), 2)
	if !errors.Is(err, sqltable.ErrTwoRows) || pipeline.IsRetriable(err) || pipeline.IsFatal(err) {
		t.Errorf("two rows: %v", err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table(t, config(db)).GetMany(late, []int{1}); !pipeline.IsRetriable(err) {
		t.Errorf("time is up: %v, want one that passes", err)
	}
	cfg := config(db)
	cfg.Scan = func(*sql.Rows) (int, string, error) { return 0, "", pipeline.Fatal(errors.New("no such column")) }
	if _, _, err := table(t, cfg).Get(t.Context(), 1); !pipeline.IsFatal(err) {
		t.Errorf("marked by Scan: %v, want it to stay fatal", err)
	}
}

func TestValidate(t *testing.T) {
	_, err := sqltable.New(sqltable.Config[int, string]{Query: "SELECT 1", MaxKeys: 1 << 20, Timeout: -time.Second})
	for _, part := range []string{"DB", "Dialect", "0 question marks", "Scan", "MaxKeys", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate does not say %q: %v", part, err)
		}
	}
}

// One query is for many records, in order, behind a cache or not.
func TestEnrichAsync(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.JSON[int]())
	pipeline.To(stages.EnrichAsync(in, "user", func(id int) int { return id }, table(t, config(users(t, 50))),
		func(id int, name string) string { return name }, stages.AsyncConfig{BatchSize: 16}), "out", serde.String())
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	for i := range 60 {
		c.Feed("in", pipelinetest.Value(serde.JSON[int](), i+1))
	}
	pipelinetest.Run(t, p, c)
	got := pipelinetest.Values(c, "out", serde.String())
	for i, name := range got {
		if name != fmt.Sprintf("user %d", i+1) {
			t.Fatalf("record %d is %q", i, name)
		}
	}
	if len(got) != 50 || len(c.DeadLetters("dlq")) != 10 {
		t.Errorf("%d records and %d dead letters, want 50 and 10", len(got), len(c.DeadLetters("dlq")))
	}
}

// What a look-up allocates is database/sql's and the driver's; the number is in
// docs/stages.md.
func TestAllocations(t *testing.T) {
	tab := table(t, config(users(t, 100)))
	keys := make([]int, 100)
	for i := range keys {
		keys[i] = i + 1
	}
	one := testing.AllocsPerRun(50, func() { _, _, _ = tab.Get(t.Context(), 5) })
	many := testing.AllocsPerRun(50, func() { _, _ = tab.GetMany(t.Context(), keys) })
	t.Logf("%.0f for a look-up, %.1f for each of 100 at once", one, many/100)
	if one > 80 || many/100 > 12 {
		t.Errorf("%.0f allocations for a look-up and %.1f for each of 100 at once; more than docs/stages.md says", one, many/100)
	}
}
