package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// readBuffer is that of each direction.
	readBuffer = 64 << 10
	// maxInFlight bounds the requests that a connection remembers until they are answered.
	maxInFlight = 1024
	// maxAnswer bounds the answers to held requests that are kept.
	maxAnswer = 1 << 20
	// lateAnswer is how long a connection whose client is gone waits for the answers to what
	// was delivered late.
	lateAnswer = 30 * time.Second
)

var (
	errOver   = errors.New("proxy: the connection is over")
	errStruck = errors.New("proxy: cut by a rule")
)

// conn is a client's connection and the one to the broker that belongs to it.
type conn struct {
	p      *Proxy
	gate   *gate
	client net.Conn
	in     *input
	up     *outlet       // to the broker
	down   *outlet       // to the client
	late   bool          // something was forwarded after the client was gone
	done   chan struct{} // closed: both sides are
	left   chan struct{} // closed: the client's side is
	popped chan struct{} // told when fewer are in flight
	work   sync.WaitGroup

	mu       sync.Mutex
	over     bool     // done is closed
	gone     bool     // left is closed
	broker   net.Conn // nil: not connected
	tainted  bool     // bytes were swallowed, so everything that follows must be
	inFlight []pending
}

// pending is a request that the broker has and has not answered.
type pending struct {
	correlation int32
	key         kmsg.Key
	version     int16
	cut         *Rule // cuts the connection instead of answering
	held        *held // is told of the answer
	late        bool  // was held or delayed
}

func newConn(p *Proxy, g *gate, client net.Conn) *conn {
	c := &conn{p: p, gate: g, client: client, done: make(chan struct{}), left: make(chan struct{}), popped: make(chan struct{}, 1)}
	c.in = &input{p: p, conn: client}
	c.down = newOutlet(c, client, c.closeClient)
	return c
}

// run is the connection's life.
func (c *conn) run() {
	defer c.end()
	if c.swallows() {
		_, _ = io.Copy(io.Discard, c.client)
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	if c.p.from.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: c.p.from.AsSlice()}
	}
	broker, err := dialer.DialContext(c.p.ctx, "tcp", c.gate.upstream)
	if err != nil {
		c.p.log.Debug("no connection to the broker", "broker", c.gate.node, "error", err)
		return
	}
	c.up = newOutlet(c, broker, func() { c.cut(false) })
	c.mu.Lock()
	c.broker = broker
	over := c.over
	c.mu.Unlock()
	if over {
		_ = broker.Close()
		return
	}
	c.work.Go(func() { c.responses(broker) })
	c.requests()
}

// end closes both sides, waits for the other goroutines, and settles what is left.
func (c *conn) end() {
	c.cut(false)
	c.work.Wait()
	c.in.discard()
	for _, p := range c.inFlight {
		p.unanswered()
	}
	c.p.forget(c)
}

// cut closes both sides. It returns false if they were closed already.
func (c *conn) cut(hard bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.over = true
	close(c.done)
	if !c.gone {
		c.gone = true
		close(c.left)
		if hard {
			reset(c.client)
		} else {
			_ = c.client.Close()
		}
	}
	if c.broker != nil {
		_ = c.broker.Close()
	}
	return true
}

// closeClient closes the client's side alone.
func (c *conn) closeClient() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		c.gone = true
		close(c.left)
		_ = c.client.Close()
	}
}

func (c *conn) clientGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// swallows tells whether bytes that are in hand now are swallowed.
func (c *conn) swallows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tainted {
		return true
	}
	// Looked at under mu: heal looks at tainted under mu after the rule is gone, so that no
	// connection is tainted behind its back.
	hole := c.gate.network.Load().hole
	if hole == nil {
		return false
	}
	c.tainted = true
	hole.hit()
	return true
}

// heal ends a connection that has lost bytes, unless it still would.
func (c *conn) heal() {
	c.mu.Lock()
	lost := c.tainted && c.gate.network.Load().hole == nil
	c.mu.Unlock()
	if lost {
		c.cut(false)
	}
}

func (c *conn) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	}
}

// requests goes from the client to the broker.
func (c *conn) requests() {
	from := bufio.NewReaderSize(c.in, readBuffer)
	for {
		if err := c.request(from); err != nil {
			if !errors.Is(err, io.EOF) {
				c.p.log.Debug("connection ends", "broker", c.gate.node, "client", c.client.RemoteAddr(), "error", err)
			}
			break
		}
	}
	c.up.drain()
	if c.late || c.owesHeld() {
		// A broker may drop what it has not begun to execute when the connection ends.
		c.await(lateAnswer, func() bool { return len(c.inFlight) == 0 })
	}
}

// owesHeld tells whether a request that was held is not answered yet.
func (c *conn) owesHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.inFlight, func(p pending) bool { return p.late })
}

// request forwards the next request, or has its rule strike it.
func (c *conn) request(from *bufio.Reader) error {
	r, err := readRequest(from, c.gate.node, len(c.p.load()) > 0)
	if err != nil {
		return err
	}
	if c.swallows() {
		_, err := from.Discard(r.Size)
		return err
	}
	rule := c.p.pick(r)
	if r.err != nil {
		return r.err
	}
	p := pending{correlation: r.CorrelationID, key: r.APIKey, version: r.Version}
	if rule != nil {
		switch rule.action {
		case drop, dropHard:
			c.cut(rule.action == dropHard)
			rule.hit()
			return errStruck
		case cutAfterApplied:
			p.cut = rule
		case hold, delay:
			if p.held, err = c.hold(r, rule); err != nil {
				return err
			}
			p.late = true
			defer c.p.unreserve(r.Size)
		}
	}
	if r.answered() {
		if !c.await(0, func() bool { return len(c.inFlight) < maxInFlight }) {
			p.unanswered()
			return errOver
		}
		c.mu.Lock()
		c.inFlight = append(c.inFlight, p)
		c.mu.Unlock()
		return c.forward(r)
	}
	err = c.forward(r)
	if p.cut != nil {
		c.up.drain()
		c.cut(false)
		p.cut.hit()
		return errStruck
	}
	if p.held != nil {
		p.held.settle(nil, err)
	}
	return err
}

func (c *conn) forward(r *Request) error {
	if r.frame != nil {
		return c.up.write(r.frame)
	}
	read, write := c.up.copy(r.from, r.Size)
	return errors.Join(read, write)
}

// hold keeps a request, which is in memory then, until its time has come. Meanwhile
// the client may go.
func (c *conn) hold(r *Request, rule *Rule) (*held, error) {
	if !c.p.reserve(r.Size) {
		rule.fail(ErrHeldTooMuch)
		return nil, ErrHeldTooMuch
	}
	h, err := c.wait(r, rule)
	if err != nil {
		c.p.unreserve(r.Size)
		if h != nil {
			h.settle(nil, ErrLost)
		}
		return nil, err
	}
	c.late = c.late || c.clientGone()
	return h, nil
}

func (c *conn) wait(r *Request, rule *Rule) (h *held, err error) {
	if err := r.read(); err != nil {
		rule.untake()
		return nil, err
	}
	var until chan struct{}
	if rule.action == hold {
		h, until = rule.holding.holds(c), rule.holding.released
	} else {
		until = make(chan struct{})
		defer time.AfterFunc(rule.time, func() { close(until) }).Stop()
	}
	ahead := make(chan error, 1)
	go func() { ahead <- c.in.readAhead() }()
	rule.hit()
	for {
		select {
		case err := <-ahead:
			if errors.Is(err, ErrHeldTooMuch) {
				rule.fail(err)
				return h, err
			}
			c.closeClient()
			ahead = nil
		case <-c.done:
			if ahead != nil {
				<-ahead
			}
			return h, errOver
		case <-until:
			if ahead != nil {
				_ = c.client.SetReadDeadline(time.Unix(1, 0))
				err := <-ahead
				_ = c.client.SetReadDeadline(time.Time{})
				if c.in.err != nil {
					c.closeClient()
				}
				if errors.Is(err, ErrHeldTooMuch) {
					rule.fail(err)
					return h, err
				}
			}
			return h, nil
		}
	}
}

// responses goes from the broker to the client, who may be gone.
func (c *conn) responses(broker net.Conn) {
	defer func() {
		c.down.drain()
		c.cut(false)
	}()
	from := bufio.NewReaderSize(broker, readBuffer)
	for {
		head, err := from.Peek(8)
		if err != nil {
			return
		}
		size := 4 + int(int32(binary.BigEndian.Uint32(head)))
		if size < 8 || size > maxFrame {
			return
		}
		if err := c.response(from, size, int32(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return
		}
	}
}

// response delivers one response. The client's going is no error.
func (c *conn) response(from *bufio.Reader, size int, correlation int32) error {
	p := c.pop(correlation)
	switch {
	case c.swallows():
		p.unanswered()
		_, err := from.Discard(size)
		return err
	case p.cut != nil:
		c.cut(false)
		p.cut.hit()
		return errStruck
	case p.held != nil && size <= maxAnswer:
		frame := make([]byte, size)
		if _, err := io.ReadFull(from, frame); err != nil {
			p.unanswered()
			return err
		}
		_ = c.down.write(frame)
		p.held.settle(decodeResponse(p.key, p.version, frame))
		return nil
	default:
		read, _ := c.down.copy(from, size)
		if p.held != nil {
			p.held.settle(nil, read)
		}
		return read
	}
}

// pop returns the request that a response answers. A broker answers in order: those
// before it will not be answered any more.
func (c *conn) pop(correlation int32) (p pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.inFlight {
		if c.inFlight[i].correlation != correlation {
			continue
		}
		for _, before := range c.inFlight[:i] {
			before.unanswered()
		}
		p = c.inFlight[i]
		c.inFlight = append(c.inFlight[:0], c.inFlight[i+1:]...)
		select {
		case c.popped <- struct{}{}:
		default:
		}
		return p
	}
	return p
}

// unanswered tells those who wait for the answer that there will be none.
func (p *pending) unanswered() {
	if p.cut != nil {
		p.cut.untake()
	}
	if p.held != nil {
		p.held.settle(nil, ErrLost)
	}
}

// await waits for something that fewer requests in flight bring about, and returns
// whether it has come about. Only the requests' goroutine calls it. 0: without limit.
func (c *conn) await(limit time.Duration, come func() bool) bool {
	var expired <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		expired = t.C
	}
	for {
		c.mu.Lock()
		ok := come()
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-c.popped:
		case <-c.done:
			return false
		case <-expired:
			return false
		}
	}
}
