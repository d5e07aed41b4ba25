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

	mu      sync.Mutex
	open    map[net.Conn]bool
	hurried bool
	killed  bool
}

func (c *connections) install(s *sarama.Config) {
	c.timeout, c.open = s.Net.DialTimeout, map[net.Conn]bool{}
	s.Net.Proxy.Enable, s.Net.Proxy.Dialer = true, c
	usual := s.Metadata.Retry.Backoff
	s.Metadata.Retry.BackoffFunc = func(int, int) time.Duration { return c.backoff(usual) }
}

// backoff is none once a stop has taken too long: sarama asks for metadata or a
// coordinator for as often as it may, whoever has given up meanwhile, and must not wait
// in between.
func (c *connections) backoff(usual time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hurried {
		return 0
	}
	return usual
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

// joinGrace is how long a stop waits for a join under way. A join that is cut
// leaves a member behind that the others wait for until it times out.
const joinGrace = 2 * time.Second

// cutJoin closes every connection, now and in future, if a join is still under
// way after the grace. A session that is active ends in order by itself, but need not
// be patient.
func (c *connections) cutJoin(h *handler) {
	select {
	case <-time.After(joinGrace):
	case <-h.left:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = true
	if h.active.Load() {
		return
	}
	c.killed = true
	for conn := range c.open {
		_ = conn.(*trackedConn).Conn.Close()
	}
	clear(c.open)
}
