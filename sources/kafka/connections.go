package kafkasource

import (
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// connections are the group client's. Closing them is the only way to end a join
// under way: it is a long poll of up to the rebalance time-out and takes no
// context.
type connections struct {
	timeout time.Duration

	mu     sync.Mutex
	open   map[net.Conn]bool
	killed bool
}

func (c *connections) install(s *sarama.Config) {
	c.timeout, c.open = s.Net.DialTimeout, map[net.Conn]bool{}
	s.Net.Proxy.Enable, s.Net.Proxy.Dialer = true, c
}

// Dial implements sarama's dialer.
func (c *connections) Dial(network, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, c.timeout)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	tracked := &trackedConn{Conn: conn, all: c}
	c.open[tracked] = true
	return tracked, nil
}

type trackedConn struct {
	net.Conn
	all *connections
}

// Close forgets the connection.
func (t *trackedConn) Close() error {
	t.all.mu.Lock()
	delete(t.all.open, t)
	t.all.mu.Unlock()
	return t.Conn.Close()
}

// killWhenIdle closes every connection, now and in future, unless a session is
// active: that one ends in order by itself.
func (c *connections) killWhenIdle(h *handler) {
	if h.active.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	for conn := range c.open {
		_ = conn.(*trackedConn).Conn.Close()
	}
	clear(c.open)
}
