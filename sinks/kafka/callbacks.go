package kafka

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// ErrInCallback is the error of a call that would wait for callbacks, made by one.
var ErrInCallback = errors.New("a callback must not wait for other callbacks")

// callbacks is the goroutine on which users' functions are told of outcomes. Its
// queue is bounded by pending: whatever stands there counts as pending still.
type callbacks struct {
	mu         sync.Mutex
	head, tail *link
	closed     bool
	wake       chan struct{}
	gone       chan struct{}
}

// link is a place in the queue; of is what it is embedded in.
type link struct {
	next *link
	of   interface{ tell() }
}

func newCallbacks() *callbacks {
	c := &callbacks{wake: make(chan struct{}, 1), gone: make(chan struct{})}
	go c.run()
	return c
}

// post queues what is to be told. It never blocks.
func (c *callbacks) post(l *link) {
	c.mu.Lock()
	first := c.head == nil
	if first {
		c.head = l
	} else {
		c.tail.next = l
	}
	c.tail = l
	c.mu.Unlock()
	if first {
		c.poke()
	}
}

func (c *callbacks) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine. inCallback finds it on the stack.
func (c *callbacks) run() {
	defer close(c.gone)
	for {
		c.mu.Lock()
		l, closed := c.head, c.closed
		c.head, c.tail = nil, nil
		c.mu.Unlock()
		if l == nil {
			if closed {
				return
			}
			<-c.wake
			continue
		}
		for l != nil {
			next := l.next
			l.next = nil
			l.of.tell() // l is its own again
			l = next
		}
	}
}

// drain waits until everything that was posted before has been told.
func (c *callbacks) drain(ctx context.Context) error {
	d := &delivery{reached: make(chan struct{})}
	d.of = d
	c.post(&d.link)
	select {
	case <-d.reached:
		return nil
	case <-c.gone:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close ends the goroutine when all has been told.
func (c *callbacks) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.poke()
	select {
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// inCallback reports whether the caller runs on the goroutine of callbacks, any
// producer's: two that wait for each other's would be no better. It walks the stack,
// about a microsecond, so it is asked only before a wait.
func inCallback() bool {
	var pcs [64]uintptr
	for skip := 2; ; {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for {
			f, more := frames.Next()
			if f.Entry == callbacksRun {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
		skip += n
	}
}

var callbacksRun = reflect.ValueOf((*callbacks).run).Pointer()

// delivery is a record on its way whose outcome somebody wants to know.
type delivery struct {
	link
	p         *Producer
	topic     string
	partition int32
	sent      time.Time
	done      Callback
	letter    *Record          // a copy, for the dead-letter hook
	headers   pipeline.Headers // a copy, for interceptors

	offset    int64
	timestamp time.Time
	err       error
	latency   time.Duration

	reached chan struct{} // not a record: drain's
	low     bool          // not a record: the buffer runs low
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// Complete implements send.Completion.
func (d *delivery) Complete(offset int64, timestamp time.Time, err error) {
	if err != nil {
		err = d.p.undelivered.note(d.topic, d.partition, err)
	}
	d.offset, d.timestamp, d.err, d.latency = offset, timestamp, err, time.Since(d.sent)
	d.of = d
	d.p.callbacks.post(&d.link)
}

// tell calls whoever wants to know.
func (d *delivery) tell() {
	switch {
	case d.reached != nil:
		close(d.reached)
		return
	case d.low:
		s := d.p.inner.Load().Stats()
		d.p.settings.OnBufferLow(s.BufferAvailable, s.BufferTotal)
		return
	}
	p, done, letter, headers := d.p, d.done, d.letter, d.headers
	r := Result{Topic: d.topic, Partition: d.partition, Offset: d.offset, Timestamp: d.timestamp, Latency: d.latency}
	err := d.err
	*d = delivery{}
	deliveries.Put(d)
	p.pending.give() // before the callback, which may want the place
	p.interceptors.onAcknowledgement(r, headers, err)
	if err != nil && letter != nil {
		p.settings.DeadLetter(*letter, err.(*DeliveryError))
	}
	if done != nil {
		done(r, err)
	}
}

// plain is told of records of one partition about which nobody asks: only a failure
// is of interest.
type plain struct {
	p         *Producer
	topic     string
	partition int32
}

// Complete implements send.Completion.
func (c *plain) Complete(_ int64, _ time.Time, err error) {
	c.p.pending.give()
	if err != nil {
		_ = c.p.undelivered.note(c.topic, c.partition, err)
	}
}
