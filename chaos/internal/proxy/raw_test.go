package proxy

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
)

// echo is a server that answers each frame as a broker does a heartbeat. It is used
// where a test must know which bytes have arrived and when.
type echo struct {
	net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	hung  bool    // has hung up
	mute  bool    // answers wait
	got   []int32 // correlation ids, in order of arrival
	most  int     // the most that were unanswered at a time on a connection
	conns []net.Conn
	awake chan struct{} // closed: mute changed
}

// newEcho starts the server behind a proxy, as broker 1.
func newEcho(t *testing.T, c Config) (*echo, *Proxy) {
	t.Helper()
	checktest.NoLeaks(t, "chaos/internal/proxy")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	e := &echo{Listener: l, awake: make(chan struct{})}
	e.work.Go(e.serve)
	t.Cleanup(func() {
		e.hangUp()
		e.setMute(false)
		e.work.Wait()
	})
	c.Brokers = map[int32]Broker{1: {Upstream: l.Addr().String()}}
	p, err := Start(c)
	must(t, err)
	t.Cleanup(p.Close)
	return e, p
}

func (e *echo) serve() {
	for {
		c, err := e.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		e.conns = append(e.conns, c)
		if e.hung {
			_ = c.Close()
		}
		e.mu.Unlock()
		e.work.Go(func() { e.answer(c) })
	}
}

func (e *echo) answer(c net.Conn) {
	defer c.Close()
	ids := make(chan int32, 1<<16)
	defer close(ids)
	e.work.Go(func() {
		for id := range ids {
			e.listen()
			b := binary.BigEndian.AppendUint32(nil, 6)
			b = binary.BigEndian.AppendUint32(b, uint32(id))
			_, _ = c.Write(append(b, 0, 0))
		}
	})
	for {
		var head [12]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		id := int32(binary.BigEndian.Uint32(head[8:]))
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))-8); err != nil {
			return
		}
		e.mu.Lock()
		e.got = append(e.got, id)
		e.mu.Unlock()
		if id >= 0 { // below: wants no answer
			ids <- id
			e.mu.Lock()
			e.most = max(e.most, len(ids))
			e.mu.Unlock()
		}
	}
}

// listen waits until answers are allowed.
func (e *echo) listen() {
	for {
		e.mu.Lock()
		mute, awake := e.mute, e.awake
		e.mu.Unlock()
		if !mute {
			return
		}
		<-awake
	}
}

func (e *echo) setMute(mute bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mute = mute
	close(e.awake)
	e.awake = make(chan struct{})
}

// hangUp ends the server.
func (e *echo) hangUp() {
	_ = e.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hung = true
	for _, c := range e.conns {
		_ = c.Close()
	}
}

func (e *echo) arrived() []int32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

func (e *echo) awaitArrived(t *testing.T, ids ...int32) {
	t.Helper()
	checktest.Await(t, "requests to arrive", patience, func() bool { return len(e.arrived()) >= len(ids) })
	if got := e.arrived(); !slices.Equal(got, ids) {
		t.Fatalf("arrived %v, want %v", got, ids)
	}
}

// rawClient is a connection to the proxy.
type rawClient struct {
	net.Conn
	t *testing.T
}

func dial(t *testing.T, p *Proxy) rawClient {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.Addr(1), patience)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return rawClient{c, t}
}

// heartbeat is a request of which only the correlation id matters.
func heartbeat(id int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, kmsg.NewPtrHeartbeatRequest(), id)
}

func (c rawClient) send(ids ...int32) {
	c.t.Helper()
	for _, id := range ids {
		_, err := c.Write(heartbeat(id))
		must(c.t, err)
	}
}

// answer reads one.
func (c rawClient) answer() (int32, error) {
	var b [10]byte
	_, err := io.ReadFull(c, b[:])
	return int32(binary.BigEndian.Uint32(b[4:])), err
}

func (c rawClient) wantAnswers(ids ...int32) {
	c.t.Helper()
	for _, want := range ids {
		if got, err := c.answer(); err != nil || got != want {
			c.t.Fatalf("answer %d, %v; want %d", got, err, want)
		}
	}
}

// wantCut wants no answer but the connection's end.
func (c rawClient) wantCut() error {
	c.t.Helper()
	id, err := c.answer()
	if err == nil {
		c.t.Fatalf("answer to %d, want the connection to be cut", id)
	}
	if n, ok := err.(net.Error); ok && n.Timeout() {
		c.t.Fatal("the connection was not cut")
	}
	return err
}
