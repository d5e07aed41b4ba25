package sqlsink_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"sync"
)

// faults break the n-th call of a database's driver: the connection is lost before the
// call has had an effect, or after.
type faults struct {
	mu     sync.Mutex
	armed  bool // calls are counted
	calls  int
	at     int // which call; 0: none
	after  bool
	struck string // what was struck
	hook   func() // called when it strikes
	only   string // count only calls of this name
	// commit, if not nil, takes the place of COMMIT.
	commit func(c *conn, inner func() error) error
}

func (f *faults) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
}

// strikes counts a call and reports whether it is the one.
func (f *faults) strikes(call string) (before, after bool) {
	if f == nil {
		return false, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed || f.only != "" && f.only != call {
		return false, false
	}
	f.calls++
	if f.calls != f.at {
		return false, false
	}
	f.struck = call
	if f.hook != nil {
		f.hook()
	}
	return !f.after, f.after
}

// connector opens connections of a driver that may break.
type connector struct {
	dsn    string
	driver driver.Driver
	faults *faults
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
	faults *faults
	lost   bool
}

var errLost = fmt.Errorf("the connection is lost: %w", io.ErrUnexpectedEOF)

// lose ends the connection as the server sees it: what is open is rolled back.
func (c *conn) lose() error {
	c.lost = true
	_ = c.Conn.Close()
	return errLost
}

// call is one call of the driver.
func (c *conn) call(name string, do func() error) error {
	if c.lost {
		return driver.ErrBadConn
	}
	before, after := c.faults.strikes(name)
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
	if c.lost {
		return nil
	}
	return c.Conn.Close()
}

func (c *conn) Ping(ctx context.Context) error {
	return c.call("ping", func() error { return c.Conn.(driver.Pinger).Ping(ctx) })
}

func (c *conn) ResetSession(ctx context.Context) error {
	if c.lost {
		return driver.ErrBadConn
	}
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

func (c *conn) IsValid() bool { return !c.lost && c.Conn.(driver.Validator).IsValid() }

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.call("exec", func() (err error) {
		r, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.call("query", func() (err error) {
		r, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.call("begin", func() (err error) {
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
	t.c.faults.mu.Lock()
	commit := t.c.faults.commit
	t.c.faults.mu.Unlock()
	if commit != nil {
		return commit(t.c, t.Tx.Commit)
	}
	return t.c.call("commit", t.Tx.Commit)
}

func (t *faultyTx) Rollback() error { return t.c.call("rollback", t.Tx.Rollback) }
