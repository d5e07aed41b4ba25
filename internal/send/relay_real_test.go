//go:build real

package send

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// network stands between producers and real brokers: each connection ends at a
// relay, which has one of its own to the broker. So a request may reach the broker
// long after the producer has given its connection up.
type network struct {
	t    *testing.T
	end  chan struct{} // closed: what is held is delivered now
	work sync.WaitGroup

	mu    sync.Mutex
	rnd   *rand.Rand
	odds  func(key int16) (lose, half, late float64) // of each request; nil: none
	holds []*held                                    // wanted, in order
	count map[string]int
}

// held is one request that is held back.
type held struct {
	key     int16
	taken   chan struct{} // closed: the relay has it
	given   chan struct{} // closed: the producer has given the connection up
	release chan struct{} // closed: deliver it
	done    chan struct{} // closed: the broker has answered, or will not
}

func newNetwork(t *testing.T) *network {
	n := &network{t: t, end: make(chan struct{}), rnd: rand.New(rand.NewPCG(1, 1)), count: map[string]int{}}
	t.Cleanup(n.settle)
	return n
}

// wrap is what newProducer takes.
func (n *network) wrap(broker net.Conn) net.Conn {
	ours, theirs := net.Pipe()
	r := &relay{net: n, client: ours, broker: broker, answered: make(chan struct{})}
	r.lost.Store(-1)
	r.awaited.Store(-1)
	n.work.Go(r.requests)
	n.work.Go(r.responses)
	return theirs
}

// hold has the next request of a kind held back.
func (n *network) hold(key int16) *held {
	h := &held{key: key, taken: make(chan struct{}), given: make(chan struct{}), release: make(chan struct{}), done: make(chan struct{})}
	n.mu.Lock()
	n.holds = append(n.holds, h)
	n.mu.Unlock()
	return h
}

// await waits for a step of a held request.
func (h *held) await(t *testing.T, what string, step <-chan struct{}) {
	t.Helper()
	select {
	case <-step:
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain until the request (key %d) was %s", h.key, what)
	}
}

// deliver has the broker get it, after the producer has given it up.
func (h *held) deliver(t *testing.T) {
	t.Helper()
	h.await(t, "given up", h.given)
	close(h.release)
	h.await(t, "delivered", h.done)
}

// settle delivers what is still held and waits for all connections to end: the
// producers must be closed.
func (n *network) settle() {
	n.mu.Lock()
	n.odds = nil
	select {
	case <-n.end:
	default:
		close(n.end)
	}
	n.mu.Unlock()
	n.work.Wait()
}

type fault uint8

const (
	pass fault = iota
	loseAnswer
	halveRequest
	delayRequest
)

// fault decides on a request. For one that is held by name it returns that.
func (n *network) fault(key int16) (fault, *held) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, h := range n.holds {
		if h.key == key {
			n.holds = append(n.holds[:i], n.holds[i+1:]...)
			return delayRequest, h
		}
	}
	if n.odds == nil {
		return pass, nil
	}
	lose, half, late := n.odds(key)
	switch x := n.rnd.Float64(); {
	case x < lose:
		n.count["lost"]++
		return loseAnswer, nil
	case x < lose+half:
		n.count["halved"]++
		return halveRequest, nil
	case x < lose+half+late:
		n.count["late"]++
		return delayRequest, nil
	default:
		return pass, nil
	}
}

func (n *network) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Duration(n.rnd.Int64N(int64(1500 * time.Millisecond)))
}

// relay is one connection.
type relay struct {
	net            *network
	client, broker net.Conn
	lost, awaited  atomic.Int32  // requests: whose answer is lost, whose is awaited
	answered       chan struct{} // closed: awaited is, or nothing will be any more
	once           sync.Once
}

// frame reads a request or a response, with its length.
func frame(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(b, size[:])
	_, err := io.ReadFull(c, b[4:])
	return b, err
}

// requests goes from the client to the broker. Once a request is held back, those
// after it are, too: the order on a connection stays.
func (r *relay) requests() {
	defer r.broker.Close()
	defer r.client.Close()
	var late bytes.Buffer
	var h *held
	for {
		f, err := frame(r.client)
		if err != nil {
			break
		}
		if late.Len() > 0 {
			late.Write(f)
			continue
		}
		what, wanted := r.net.fault(int16(binary.BigEndian.Uint16(f[4:])))
		id := int32(binary.BigEndian.Uint32(f[8:]))
		switch what {
		case delayRequest:
			r.awaited.Store(id)
			late.Write(f)
			if h = wanted; h != nil {
				close(h.taken)
			}
			continue
		case halveRequest:
			_, _ = r.broker.Write(f[:len(f)/2])
			return
		case loseAnswer:
			r.lost.Store(id)
		}
		if _, err := r.broker.Write(f); err != nil {
			return
		}
	}
	if late.Len() > 0 {
		r.deliver(late.Bytes(), h)
	}
}

// deliver writes what was held back, although nobody waits for an answer any more,
// and waits until the broker has executed the first request of it.
func (r *relay) deliver(late []byte, h *held) {
	if h == nil {
		select {
		case <-time.After(r.net.delay()):
		case <-r.net.end:
		}
	} else {
		defer close(h.done)
		close(h.given)
		select {
		case <-h.release:
		case <-r.net.end:
		}
	}
	if _, err := r.broker.Write(late); err != nil {
		return
	}
	select {
	case <-r.answered:
	case <-time.After(10 * time.Second):
	}
}

// responses goes from the broker to the client, who may be gone.
func (r *relay) responses() {
	defer r.once.Do(func() { close(r.answered) })
	defer r.client.Close()
	for {
		f, err := frame(r.broker)
		if err != nil {
			return
		}
		switch int32(binary.BigEndian.Uint32(f[4:])) {
		case r.lost.Load():
			r.client.Close()
		case r.awaited.Load():
			r.once.Do(func() { close(r.answered) })
		}
		_, _ = r.client.Write(f)
	}
}

// clusterBrokers are the addresses of the real brokers.
func clusterBrokers(t *testing.T) []string {
	t.Helper()
	brokers := os.Getenv("LEAT_TEST_BROKERS")
	if brokers == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real and scripts/test-three set it")
	}
	return strings.Split(brokers, ",")
}
