package send

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/recordbatch"
	"github.com/leat-stream/leat/internal/wire"
)

// conn sends the requests of one node. One goroutine compresses and writes, another
// reads. The first error of any kind is the connection's last: what was sent
// before may still be executed, so nothing may follow on it. It stays to refuse
// requests until the machine has released it.
type conn struct {
	k        *kafka
	requests chan *request
	released chan struct{}   // closed by the machine: it sends nothing more here
	usable   context.Context // ends with the connection, its cause is why
	cut      context.CancelCauseFunc

	unanswered chan *pending  // written, in order
	waiting    sync.WaitGroup // one for each of them
	resume     atomic.Int64   // unix ns: not to write before, as a broker has asked
}

// pending is a request that waits for its answer.
type pending struct {
	r           *request
	correlation int32
	version     int16
	written     chan struct{} // closed: the writer is done with its batches
	late        *time.Timer
}

var (
	errHungUp = errors.New("connection was given up")
	errClosed = errors.New("the broker closed the connection")
)

func (k *kafka) produce(r *request) {
	c, ok := r.node.conn.(*conn)
	if !ok {
		c = &conn{
			k: k, requests: make(chan *request, k.cfg.MaxInFlight), unanswered: make(chan *pending, k.cfg.MaxInFlight), released: make(chan struct{}),
		}
		c.usable, c.cut = context.WithCancelCause(k.ctx)
		r.node.conn = c
		k.work.Go(func() { c.serve(r.node.addr) })
	}
	c.requests <- r // never more than MaxInFlight are under way
}

func (k *kafka) hangUp(n *node) {
	if c, ok := n.conn.(*conn); ok {
		c.cut(errHungUp)
		close(c.released)
	}
}

// report tells the machine a request's outcome: an error, or its results.
func (k *kafka) report(r *request, err error) {
	r.err = err
	r.took = time.Since(r.sent)
	k.loop.post(func(now time.Time) { k.loop.m.produced(r, now) })
}

// serve is the writing goroutine.
func (c *conn) serve(addr string) {
	defer c.cut(errHungUp)
	nc, enc, err := c.connect(addr)
	if err == nil {
		stop := context.AfterFunc(c.usable, func() { _ = nc.Close() })
		defer func() {
			stop()
			_ = nc.Close()
		}()
		var reading sync.WaitGroup
		reading.Go(func() { c.read(nc) })
		defer reading.Wait()
	}
	defer close(c.unanswered)
	for correlation := int32(0); ; correlation++ {
		select {
		case r := <-c.requests:
			if err == nil && c.usable.Err() != nil {
				err = context.Cause(c.usable)
			}
			if err != nil {
				if !c.k.cfg.keeps(ruleReleased) {
					return
				}
				c.k.report(r, err)
				continue
			}
			if err = c.renew(nc); err != nil {
				c.cut(err)
				c.k.report(r, err)
				continue
			}
			err = c.write(nc, enc, r, correlation)
		case <-c.released:
			for len(c.requests) > 0 {
				c.k.report(<-c.requests, errHungUp)
			}
			return
		}
	}
}

func (c *conn) connect(addr string) (*wire.Taken, *encoder, error) {
	k := c.k
	w, err := k.wire.Open(c.usable, addr)
	if err != nil {
		return nil, nil, err
	}
	nc, most, err := w.TakeOver(c.usable, apiProduce)
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	version, err := produceVersion(most, false)
	if err != nil {
		_ = nc.Close()
		return nil, nil, err
	}
	return nc, &encoder{
		most: most, version: version, clientID: k.cfg.Connection.ClientID, transactional: k.cfg.TransactionalID, acks: k.cfg.Acks,
		timeout: k.cfg.RequestTimeout * 4 / 5, codec: k.compressor.Codec(),
	}, nil
}

// renew gives the credentials again when the broker wants that, which closes the
// connection otherwise, with what is under way on it (KIP-368). What is under way is
// waited for: its answers would come in between.
func (c *conn) renew(nc *wire.Taken) error {
	if !nc.Due() || !c.k.cfg.keeps(ruleRenew) {
		return nil
	}
	c.waiting.Wait() // no longer than RequestTimeout, which cuts the connection
	if c.usable.Err() != nil {
		return context.Cause(c.usable)
	}
	ctx, cancel := context.WithTimeout(c.usable, c.k.cfg.RequestTimeout)
	defer cancel()
	return nc.Renew(ctx)
}

// write sends a request. Unless no answer is wanted, the reader reports its
// outcome, also after an error here.
func (c *conn) write(nc net.Conn, enc *encoder, r *request, correlation int32) error {
	batches := byTopic(r.batches)
	for _, b := range batches {
		if err := c.k.compress(b); err != nil {
			c.k.report(r, err)
			return err
		}
	}
	version, err := produceVersion(enc.most, r.joins)
	if err != nil {
		c.k.report(r, err)
		return err
	}
	enc.version = version
	c.pause()
	r.sent = time.Now() // what it waited for the connection is not the broker's time
	buffers := enc.encode(correlation, batches, c.k.body)
	p := &pending{r: r, correlation: correlation, version: version, written: make(chan struct{})}
	// A write that cannot get rid of its bytes is late, too.
	p.late = time.AfterFunc(c.k.cfg.RequestTimeout, func() { c.cut(sarama.ErrRequestTimedOut) })
	defer close(p.written)
	if c.k.cfg.Acks == sarama.NoResponse {
		_, err := buffers.WriteTo(nc)
		p.late.Stop()
		c.k.report(r, err)
		return err
	}
	c.waiting.Add(1)
	c.unanswered <- p // room for MaxInFlight
	_, err = buffers.WriteTo(nc)
	if err != nil {
		c.cut(err)
	}
	return err
}

// pause waits while the broker wants no requests (KIP-219).
func (c *conn) pause() {
	wait := time.Until(time.Unix(0, c.resume.Load()))
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.usable.Done():
	}
}

// read is the reading goroutine: it reports the outcome of every request in
// unanswered, once.
func (c *conn) read(nc net.Conn) {
	var buf []byte
	for p := range c.unanswered {
		var err error
		if c.usable.Err() == nil {
			buf, err = c.answer(nc, p, buf)
		}
		<-p.written
		p.late.Stop()
		if err != nil {
			c.cut(err)
		}
		if p.r.results == nil {
			c.k.report(p.r, context.Cause(c.usable))
		} else {
			c.k.report(p.r, nil)
		}
		c.waiting.Done()
	}
}

// maxResponse bounds what a broker can make us allocate.
const maxResponse = 64 << 20

// answer reads one response into the request.
func (c *conn) answer(nc net.Conn, p *pending, buf []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = errClosed
		}
		return buf, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxResponse {
		return buf, fmt.Errorf("%w: %d bytes", errResponse, n)
	}
	if uint32(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(nc, buf); err != nil {
		return buf, err
	}
	results, throttle, err := decodeProduced(buf, p.version, p.correlation, p.r.batches)
	if err != nil {
		return buf, err
	}
	p.r.results, p.r.paused = results, throttle
	if throttle > 0 {
		c.resume.Store(time.Now().Add(throttle).UnixNano())
	}
	return buf, nil
}

// compress makes a batch's body ready for the wire, once: a retry sends the same.
func (k *kafka) compress(b *batch) (err error) {
	if k.compressor.Codec() == recordbatch.None || b.wire != nil {
		return nil
	}
	wire := k.wires.Get().(*wireBuffer)
	if wire.bytes, err = k.compressor.Compress(wire.bytes, b.body.Bytes()); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	b.wire = wire
	return nil
}

func (k *kafka) body(b *batch) []byte {
	if b.wire == nil {
		return b.body.Bytes()
	}
	return b.wire.bytes
}
