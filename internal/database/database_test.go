package database_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/leat-stream/leat/internal/database"
	"github.com/leat-stream/leat/pipeline"
)

type stateError string

func (e stateError) Error() string    { return "state " + string(e) }
func (e stateError) SQLState() string { return string(e) }

type codeError int

func (e codeError) Error() string { return fmt.Sprint("code ", int(e)) }
func (e codeError) Code() int     { return int(e) }

// Errors are told apart by their SQLSTATE, SQLite's code, or what the connection says.
func TestClassify(t *testing.T) {
	const passes, fatal, own = "passes", "fatal", "the record's"
	for _, test := range []struct {
		dialect database.Dialect
		err     error
		want    string
	}{
		{database.Postgres, stateError("40001"), passes},
		{database.Postgres, stateError("40P01"), passes},
		{database.Postgres, stateError("57P01"), passes},
		{database.Postgres, stateError("25006"), passes},
		{database.Postgres, stateError("23505"), own},
		{database.Postgres, stateError("22P02"), own},
		{database.Postgres, stateError("42P01"), fatal},
		{database.Postgres, stateError("25P02"), fatal},
		{database.Postgres, stateError("x"), own},
		{database.Postgres, codeError(5), own}, // SQLite's codes mean nothing there
		{database.SQLite, codeError(5), passes},
		{database.SQLite, codeError(5 | 2<<8), passes}, // BUSY_SNAPSHOT
		{database.SQLite, codeError(19 | 8<<8), own},   // CONSTRAINT_UNIQUE
		{database.SQLite, codeError(8), fatal},
		{database.SQLite, codeError(1), own},
		{database.SQLite, driver.ErrBadConn, passes},
		{database.SQLite, context.DeadlineExceeded, passes},
		{database.SQLite, &net.OpError{Op: "dial", Err: errors.New("refused")}, passes},
		{database.SQLite, errors.New("something"), own},
		{database.SQLite, pipeline.Fatal(driver.ErrBadConn), fatal}, // it was marked before
		{database.SQLite, pipeline.Retriable(codeError(8)), passes},
	} {
		got := own
		switch err := test.dialect.Classify(fmt.Errorf("insert: %w", test.err)); {
		case !errors.Is(err, test.err):
			t.Errorf("%v of %v is lost", test.err, test.dialect)
		case pipeline.IsRetriable(err):
			got = passes
		case pipeline.IsFatal(err):
			got = fatal
		}
		if got != test.want {
			t.Errorf("%v of %v: %s, want %s", test.err, test.dialect, got, test.want)
		}
	}
	if database.SQLite.Classify(nil) != nil {
		t.Error("no error became one")
	}
}

func TestNumbered(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1":                       "SELECT 1",
		"a = ? AND b IN (?, ?)":          "a = $1 AND b IN ($2, $3)",
		"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)": "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	} {
		if got := database.Postgres.Numbered(query); got != want {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
		if got := database.SQLite.Numbered(query); got != query {
			t.Errorf("%q becomes %q for SQLite", query, got)
		}
	}
}
