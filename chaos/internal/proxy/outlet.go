package proxy

import (
	"bufio"
	"bytes"
	"net"
	"sync/atomic"
	"time"
)

const (
	// lineLength and maxParcel bound what latency keeps under way in one direction: 1 MiB.
	lineLength = 64
	maxParcel  = 16 << 10
	// rateSteps is in how many pieces a second's worth of bytes is written.
	rateSteps = 50
)

// outlet is where bytes leave a connection for one of its sides. One goroutine writes
// to it.
type outlet struct {
	c    *conn
	to   net.Conn
	fail func() // called when that side takes nothing more

	// line holds what latency delays. Once anything is in it, everything goes through it
	// until it is empty, to stay in order.
	line    chan parcel
	waiting atomic.Int64
	idle    chan struct{} // told when nothing waits any more
}

// parcel is some bytes and when they are due.
type parcel struct {
	b   []byte
	due time.Time
}

func newOutlet(c *conn, to net.Conn, fail func()) *outlet {
	return &outlet{c: c, to: to, fail: fail, idle: make(chan struct{}, 1)}
}

// write passes bytes on, which may be used again when it returns.
func (o *outlet) write(b []byte) error {
	slow := o.c.gate.network.Load().latency
	if slow == nil && o.waiting.Load() == 0 {
		return o.send(b)
	}
	if o.line == nil {
		o.line = make(chan parcel, lineLength)
		o.c.work.Go(o.deliver)
	}
	due := time.Now()
	if slow != nil {
		due = due.Add(slow.time)
		slow.hit()
	}
	for len(b) > 0 {
		n := min(len(b), maxParcel)
		o.waiting.Add(1)
		select {
		case o.line <- parcel{b: bytes.Clone(b[:n]), due: due}:
		case <-o.c.done:
			return errOver
		}
		b = b[n:]
	}
	return nil
}

// deliver passes on what latency has delayed.
func (o *outlet) deliver() {
	for {
		select {
		case p := <-o.line:
			o.c.pause(time.Until(p.due))
			_ = o.send(p.b) // which has told that side's end
			if o.waiting.Add(-1) == 0 {
				select {
				case o.idle <- struct{}{}:
				default:
				}
			}
		case <-o.c.done:
			return
		}
	}
}

// drain waits until nothing is delayed any more.
func (o *outlet) drain() {
	for o.waiting.Load() > 0 {
		select {
		case <-o.idle:
		case <-o.c.done:
			return
		}
	}
}

// send writes, no faster than the rate allows.
func (o *outlet) send(b []byte) error {
	for len(b) > 0 {
		if o.c.swallows() {
			return nil
		}
		n := len(b)
		slow := o.c.gate.network.Load().rate
		if slow != nil {
			n = min(n, max(1, slow.bytes/rateSteps))
		}
		if _, err := o.to.Write(b[:n]); err != nil {
			o.fail()
			return err
		}
		b = b[n:]
		if slow != nil {
			slow.hit()
			o.c.pause(time.Duration(n) * time.Second / time.Duration(slow.bytes))
		}
	}
	return nil
}

// copy passes n bytes on. It reads all of them even when writing fails.
func (o *outlet) copy(from *bufio.Reader, n int) (read, write error) {
	for n > 0 {
		if _, err := from.Peek(1); err != nil {
			return err, write
		}
		b, _ := from.Peek(min(n, from.Buffered())) // has them
		if write == nil {
			write = o.write(b)
		}
		_, _ = from.Discard(len(b))
		n -= len(b)
	}
	return nil, write
}
