// Package checksql breaks the connections of a database, for tests.
package checksql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Faults break the n-th call of a database's driver: the connection is lost before the
// call has had an effect, or after. The zero value counts calls once it is armed.
type Faults struct {
	// At is which call it is, from 1; 0 is none.
	At int
	// After is the side of the call.
	After bool

	mu     sync.Mutex
	armed  bool
	calls  int
	strike func()
	commit func(lose func(), inner func() error) error
}

// Arm counts calls from now on.
func (f *Faults) Arm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = true
}

// Disarm lets everything pass.
func (f *Faults) Disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.commit = false, nil
}

// Calls returns how many there were.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// OnStrike has hook called when the call is struck.
func (f *Faults) OnStrike(hook func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strike = hook
}

// OnCommit has commit called in the place of the next COMMIT, which is inner. lose marks the
// connection as lost: the client will not use it any more.
func (f *Faults) OnCommit(commit func(lose func(), inner func() error) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = commit
}

// strikes counts a call and reports whether it is the one.
func (f *Faults) strikes() (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return false, false
	}
	f.calls++
	if f.calls != f.At {
		return false, false
	}
	if f.strike != nil {
		f.strike()
	}
	return !f.After, f.After
}

func (f *Faults) takeCommit() func(lose func(), inner func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	commit := f.commit
	f.commit = nil
	return commit
}

// Open opens a database whose connections may break. f may be nil.
func Open(d driver.Driver, dsn string, f *Faults) *sql.DB {
	return sql.OpenDB(&connector{dsn: dsn, driver: d, faults: f})
}

type connector struct {
	dsn    string
	driver driver.Driver
	faults *Faults
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	inner, err := c.driver.Open(c.dsn)
	if err != nil || c.faults == nil {
		return inner, err
	}
	return &conn{Conn: inner, faults: c.faults}, nil
}

type conn struct {
	driver.Conn
	faults *Faults
	lost   atomic.Bool
}

// ErrLost is what a lost connection is to its client.
var ErrLost = fmt.Errorf("the connection is lost: %w", io.ErrUnexpectedEOF)

// lose ends the connection as the server sees it: what is open is rolled back.
func (c *conn) lose() error {
	c.lost.Store(true)
	_ = c.Conn.Close()
	return ErrLost
}

// call is one call of the driver.
func (c *conn) call(do func() error) error {
	if c.lost.Load() {
		return driver.ErrBadConn
	}
	before, after := c.faults.strikes()
	if before {
		return c.lose()
	}
	if err := do(); err != nil {
		return err
	}
	if after {
		return c.lose()
	}
	return nil
}

func (c *conn) Close() error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.Close()
}

func (c *conn) Ping(ctx context.Context) error {
	return c.call(func() error { return c.Conn.(driver.Pinger).Ping(ctx) })
}

func (c *conn) ResetSession(ctx context.Context) error {
	if c.lost.Load() {
		return driver.ErrBadConn
	}
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !c.lost.Load() && (!ok || v.IsValid())
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.call(func() (err error) {
		r, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.call(func() (err error) {
		r, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.call(func() (err error) {
		tx, err = c.Conn.(driver.ConnBeginTx).BeginTx(context.WithoutCancel(ctx), opts) // what is on its way is not called back
		return err
	})
	return &faultyTx{tx, c}, err
}

type faultyTx struct {
	driver.Tx
	c *conn
}

func (t *faultyTx) Commit() error {
	if commit := t.c.faults.takeCommit(); commit != nil {
		return commit(func() { t.c.lost.Store(true) }, t.Tx.Commit)
	}
	return t.c.call(t.Tx.Commit)
}

func (t *faultyTx) Rollback() error { return t.c.call(t.Tx.Rollback) }
