//go:build real && unix

package serde_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy passes connections on, until it is cut.
type proxy struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	open  map[net.Conn]bool
	count int
}

func startProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{listener: l, to: to, open: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut(true)
		p.all.Wait()
	})
	return p
}

// through is a URL that leads through the proxy.
func (p *proxy) through(address string) string {
	u, _ := url.Parse(address)
	u.Host = p.listener.Addr().String()
	return u.String()
}

// opened returns the number of connections so far.
func (p *proxy) opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// cut ends all connections, and new ones at once, or lets them pass again.
func (p *proxy) cut(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = on
	for c := range p.open {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.pass(in) })
	}
}

// enter notes a connection, and closes it if the proxy is cut.
func (p *proxy) enter(c net.Conn, isNew bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isNew {
		p.count++
	}
	if p.isCut {
		_ = c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *proxy) leave(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *proxy) pass(in net.Conn) {
	if !p.enter(in, true) {
		return
	}
	defer p.leave(in)
	out, err := net.Dial("tcp", p.to)
	if err != nil || !p.enter(out, false) {
		return
	}
	defer p.leave(out)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.Close()
	})
	_, _ = io.Copy(out, in)
	_ = out.Close()
	back.Wait()
}
