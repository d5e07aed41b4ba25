package send

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// where is when a connection breaks, as seen from a request.
type where uint8

const (
	beforeRequest where = iota // nothing of it is sent
	midRequest                 // half of it is
	afterRequest               // it is executed, and the answer lost
)

func (w where) String() string { return [...]string{"before", "half sent", "after"}[w] }

// plan breaks the connection of one request. Hole makes all connections black
// holes: what is written is lost, and nothing is ever read.
type plan struct {
	hole atomic.Bool

	mu    sync.Mutex
	armed bool
	key   int16
	skip  int // requests of this kind that pass
	where where
	hits  int
}

func (p *plan) wrap(c net.Conn) net.Conn {
	return &faultyConn{Conn: c, plan: p, closed: make(chan struct{})}
}

// due reports whether a request is the one.
func (p *plan) due(key int16) (where, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed || key != p.key {
		return 0, false
	}
	if p.skip > 0 {
		p.skip--
		return 0, false
	}
	p.armed = false
	p.hits++
	return p.where, true
}

type faultyConn struct {
	net.Conn
	plan    *plan
	swallow atomic.Bool
	once    sync.Once
	closed  chan struct{}
}

// Write sees whole requests: sarama writes each at once.
func (c *faultyConn) Write(b []byte) (int, error) {
	if c.plan.hole.Load() {
		return len(b), nil
	}
	if len(b) > 6 {
		if at, due := c.plan.due(int16(binary.BigEndian.Uint16(b[4:]))); due {
			switch at {
			case beforeRequest:
				_ = c.Close()
				return 0, io.ErrClosedPipe
			case midRequest:
				n, _ := c.Conn.Write(b[:len(b)/2])
				_ = c.Close()
				return n, io.ErrClosedPipe
			case afterRequest:
				c.swallow.Store(true)
			}
		}
	}
	return c.Conn.Write(b)
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.plan.hole.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	if c.swallow.Load() && n > 0 {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
