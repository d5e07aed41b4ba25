package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a proxy is started with.
type Config struct {
	// Brokers are the brokers, by node id.
	Brokers map[int32]Broker
	// From is the address that brokers are dialled from. Default: the system's choice.
	From netip.Addr
	// MaxHeld bounds the requests that are held or delayed, in bytes, over all
	// connections. Default: 64 MiB. The rule that would exceed it fails with
	// ErrHeldTooMuch, and the connection is cut.
	MaxHeld int64
	// Logger is told of connections that are cut and why, at debug level. Default: none.
	Logger *slog.Logger
}

// Broker says where one broker is.
type Broker struct {
	// Listen is the address that clients connect to. Default: a free port of 127.0.0.1.
	Listen string
	// Upstream is the address of the broker itself. It need not answer yet.
	Upstream string
}

const (
	// defaultMaxHeld is MaxHeld where none is given.
	defaultMaxHeld = 64 << 20
	// dialTimeout bounds connecting to a broker.
	dialTimeout = 10 * time.Second
)

// Proxy is a set of listeners. It is safe for concurrent use.
type Proxy struct {
	from    netip.Addr
	maxHeld int64
	held    atomic.Int64 // bytes held back
	log     *slog.Logger
	gates   map[int32]*gate

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	// rules are those on requests, oldest first. The slice is replaced, never changed, so
	// that a connection reads it without a lock.
	rules atomic.Pointer[[]*Rule]

	mu       sync.Mutex
	networks []*Rule // those on connections, oldest first
	conns    map[*conn]struct{}
}

// gate is one broker's listener, and what is wrong with the network behind it.
type gate struct {
	node     int32
	listener net.Listener
	upstream string
	network  atomic.Pointer[network]
}

// Start listens for all brokers.
func Start(c Config) (*Proxy, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("proxy: no brokers")
	}
	p := &Proxy{from: c.From, maxHeld: c.MaxHeld, log: c.Logger, gates: map[int32]*gate{}, conns: map[*conn]struct{}{}}
	if p.maxHeld == 0 {
		p.maxHeld = defaultMaxHeld
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	for node, b := range c.Brokers {
		if b.Upstream == "" {
			return nil, fmt.Errorf("proxy of broker %d: no upstream address", node)
		}
	}
	for node, b := range c.Brokers {
		if b.Listen == "" {
			b.Listen = "127.0.0.1:0"
		}
		l, err := net.Listen("tcp", b.Listen)
		if err != nil {
			for _, g := range p.gates {
				_ = g.listener.Close()
			}
			return nil, fmt.Errorf("proxy of broker %d: %w", node, err)
		}
		g := &gate{node: node, listener: l, upstream: b.Upstream}
		g.network.Store(&network{})
		p.gates[node] = g
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for _, g := range p.gates {
		p.work.Go(func() { p.accept(g) })
	}
	return p, nil
}

// Addr is the address at which clients reach a broker, "" for one that is unknown.
func (p *Proxy) Addr(broker int32) string {
	if g := p.gates[broker]; g != nil {
		return g.listener.Addr().String()
	}
	return ""
}

// Addrs are the addresses of all brokers, in the order of their ids: what clients
// bootstrap from.
func (p *Proxy) Addrs() []string {
	var all []string
	for _, node := range slices.Sorted(maps.Keys(p.gates)) {
		all = append(all, p.Addr(node))
	}
	return all
}

// Close cuts all connections, discards what is held, and returns when everything has
// ended.
func (p *Proxy) Close() {
	p.stop()
	for _, g := range p.gates {
		_ = g.listener.Close()
	}
	p.cut(nil, false)
	p.work.Wait()
}

func (p *Proxy) accept(g *gate) {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			if p.ctx.Err() == nil { // out of files, perhaps: not for ever
				p.log.Warn("accept", "broker", g.node, "error", err)
				p.pause(10 * time.Millisecond)
				continue
			}
			return
		}
		if rule := g.network.Load().refuse; rule != nil {
			reset(client)
			rule.hit()
			continue
		}
		c := newConn(p, g, client)
		p.mu.Lock()
		if p.ctx.Err() != nil {
			p.mu.Unlock()
			_ = client.Close()
			return
		}
		p.conns[c] = struct{}{}
		p.work.Go(c.run)
		p.mu.Unlock()
	}
}

// forget takes a connection out that has ended.
func (p *Proxy) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// cut cuts the connections to some brokers, or to all if none is named.
func (p *Proxy) cut(brokers []int32, hard bool) (n int) {
	for _, c := range p.open(brokers) {
		if c.cut(hard) {
			n++
		}
	}
	return n
}

// open returns the connections to some brokers, or to all if none is named.
func (p *Proxy) open(brokers []int32) (all []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if len(brokers) == 0 || slices.Contains(brokers, c.gate.node) {
			all = append(all, c)
		}
	}
	return all
}

// reserve takes bytes from what may be held.
func (p *Proxy) reserve(n int) bool {
	if p.held.Add(int64(n)) > p.maxHeld {
		p.held.Add(-int64(n))
		return false
	}
	return true
}

func (p *Proxy) unreserve(n int) { p.held.Add(-int64(n)) }

func (p *Proxy) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

// reset closes a connection so that its peer sees it reset.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
