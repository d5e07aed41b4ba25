package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/leat-stream/leat/pipeline"
)

// Classify marks an error of a database as [pipeline.Retriable] if it passes, and as
// [pipeline.Fatal] if it is everyone's, not the record's. What is marked already, and what
// it does not know, it leaves as it is.
func (d Dialect) Classify(err error) error {
	switch {
	case err == nil, pipeline.IsRetriable(err), pipeline.IsFatal(err):
		return err
	case lost(err):
		return pipeline.Retriable(err)
	}
	var mark func(error) error
	if e, ok := errors.AsType[interface {
		error
		SQLState() string // of pgx and pq
	}](err); ok {
		mark = byState(e.SQLState())
	} else if e, ok := errors.AsType[interface {
		error
		Code() int // of modernc.org/sqlite
	}](err); ok && d == SQLite {
		mark = byCode(e.Code())
	}
	if mark == nil {
		return err
	}
	return mark(err)
}

// lost tells errors of the connection and of its time.
func lost(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return slices.ContainsFunc([]error{
		context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	}, func(e error) bool { return errors.Is(err, e) })
}

// byState goes by the class of an SQLSTATE, its first two characters.
func byState(state string) func(error) error {
	switch state {
	case "25006": // read-only: what was the primary is a replica now
		return pipeline.Retriable
	case "25P02": // the transaction has failed before, and somebody has kept that for himself
		return pipeline.Fatal
	}
	switch class := state[:min(2, len(state))]; class {
	case "08", "40", "53", "55", "57", "58": // connection, serialization and deadlock, resources, locks, shutdown, I/O
		return pipeline.Retriable
	case "0A", "28", "3D", "3F", "42": // not supported, login, no such database or schema, syntax and rights
		return pipeline.Fatal
	}
	return nil
}

// byCode goes by the low byte of SQLite's result code. SQLITE_ERROR is left alone: it
// is a missing table as well as a value that a function refuses.
func byCode(code int) func(error) error {
	switch code & 0xff {
	case 4, 5, 6, 7, 9, 10, 13, 15, 17: // ABORT BUSY LOCKED NOMEM INTERRUPT IOERR FULL PROTOCOL SCHEMA
		return pipeline.Retriable
	case 3, 8, 11, 14, 23, 26: // PERM READONLY CORRUPT CANTOPEN AUTH NOTADB
		return pipeline.Fatal
	}
	return nil
}
