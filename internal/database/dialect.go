// Package database has what the SQL sink and the SQL table share: how a database writes
// placeholders, and what its errors mean.
package database

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the part of a database's SQL that differs.
type Dialect uint8

// The dialects that are tried on the real database.
const (
	Postgres Dialect = iota + 1
	SQLite
)

// String returns the database's name.
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "PostgreSQL"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", uint8(d))
}

// Known reports whether it is one of the dialects.
func (d Dialect) Known() bool { return d == Postgres || d == SQLite }

// Numbered writes the question marks of a query as the database has them. The query
// must have none within quotes.
func (d Dialect) Numbered(query string) string {
	if d != Postgres {
		return query
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}
