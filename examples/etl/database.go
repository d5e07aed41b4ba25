package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"

	_ "modernc.org/sqlite"
)

const schema = `
	CREATE TABLE IF NOT EXISTS customers (id TEXT PRIMARY KEY, country TEXT NOT NULL);
	INSERT INTO customers VALUES ('c1', 'DE'), ('c2', 'FR'), ('c3', 'DE') ON CONFLICT DO NOTHING;
	CREATE TABLE IF NOT EXISTS sales (id TEXT PRIMARY KEY, customer TEXT NOT NULL, placed TEXT NOT NULL, cents INTEGER NOT NULL);
	CREATE TABLE IF NOT EXISTS totals (country TEXT PRIMARY KEY, orders INTEGER NOT NULL, cents INTEGER NOT NULL);
	CREATE TABLE IF NOT EXISTS rejected (id TEXT NOT NULL, reason TEXT NOT NULL);`

// openDB opens the file. Writers wait for each other, five seconds at most, and take their lock when a
// transaction begins; readers do not wait for them.
func openDB(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return db, nil
}

func report(ctx context.Context, db *sql.DB, out io.Writer) error {
	return printRows(ctx, db, out, `
		SELECT '  ' || country || ': ' || orders || ' orders, ' || printf('%.2f', cents / 100.0) FROM totals
		UNION ALL SELECT '  rejected: order ' || id || ', ' || reason FROM rejected
		UNION ALL SELECT '  position: ' || SUM(next_offset) || ' offsets read' FROM leat_offsets ORDER BY 1`)
}

func printRows(ctx context.Context, db *sql.DB, out io.Writer, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		fmt.Fprintln(out, line)
	}
	return rows.Err()
}
