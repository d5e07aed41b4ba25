package proxy

import (
	"net"
	"net/netip"
	"testing"
)

// A broker sees who comes through the proxy come from Config.From. On Linux all of
// 127.0.0.0/8 is this machine.
func TestFrom(t *testing.T) {
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer broker.Close()
	from := netip.MustParseAddr("127.0.0.9")
	p, err := Start(Config{Brokers: map[int32]Broker{1: {Upstream: broker.Addr().String()}}, From: from})
	must(t, err)
	defer p.Close()
	client, err := net.Dial("tcp", p.Addr(1))
	must(t, err)
	defer client.Close()
	c, err := broker.Accept()
	must(t, err)
	defer c.Close()
	if got := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); got != from {
		t.Errorf("dialled from %v", got)
	}
}
