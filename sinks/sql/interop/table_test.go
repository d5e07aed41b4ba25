package interop

import (
	"database/sql"
	"fmt"
	"maps"
	"testing"

	sqlsink "github.com/leat-stream/leat/sinks/sql"
	sqltable "github.com/leat-stream/leat/tables/sql"
)

// The same look-ups on all databases: one key, many, none, and by an array where there
// are arrays.
func TestTable(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		db := d.open(t, d.fresh(t), nil)
		if _, err := db.Exec("CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)"); err != nil {
			t.Fatal(err)
		}
		want := map[string]sql.NullString{}
		var keys []string
		for i := range 20 {
			id := fmt.Sprintf("u%d", i)
			name := sql.NullString{String: "user", Valid: i != 3}
			if _, err := db.Exec("INSERT INTO users VALUES ($1, $2)", id, name); err != nil {
				t.Fatal(err)
			}
			if !name.Valid {
				name.String = ""
			}
			want[id] = name
			keys = append(keys, id)
		}
		keys = append(keys, "nobody")
		cfg := sqltable.Config[string, sql.NullString]{
			DB: db, Dialect: d.dialect, Query: "SELECT id, name FROM users WHERE id IN (?)",
			Scan: func(rows *sql.Rows) (id string, name sql.NullString, err error) {
				err = rows.Scan(&id, &name)
				return id, name, err
			},
		}
		lookUp := func(cfg sqltable.Config[string, sql.NullString]) {
			t.Helper()
			table, err := sqltable.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table.GetMany(t.Context(), keys)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("GetMany = %v (%v), want %v", got, err, want)
			}
			if name, ok, err := table.Get(t.Context(), "u3"); !ok || err != nil || name.Valid {
				t.Errorf("Get(u3) = %v, %v, %v, want NULL", name, ok, err)
			}
			if _, ok, err := table.Get(t.Context(), "nobody"); ok || err != nil {
				t.Errorf("Get(nobody) = %v, %v, want nothing", ok, err)
			}
		}
		lookUp(cfg)
		if d.dialect == sqlsink.Postgres {
			cfg.Query = "SELECT id, name FROM users WHERE id = ANY(?)"
			cfg.Array = func(keys []string) any { return keys }
			lookUp(cfg)
		}
	})
}
