package kafka

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Interceptor looks at every record of a [Producer], for metrics, tracing, auditing.
// Both methods may be called from several goroutines at once and must not block. An
// error or panic in one is counted, logged at most once a minute, and otherwise
// without effect: the record is sent as if the interceptor had not been there. So an
// interceptor is no place to validate. One that is an io.Closer is closed with the
// producer.
type Interceptor interface {
	// OnSend is called on the sender's goroutine, before anything is encoded or a
	// partition is chosen. It may change what Outgoing has as fields; the changes of
	// an OnSend that fails are undone. The Outgoing is valid until it returns.
	OnSend(o *Outgoing) error
	// OnAcknowledgement is told the outcome, before the record's callback, on the
	// callbacks' goroutine; for a send that fails at once, on the sender's. In a
	// transaction, acknowledged is not committed yet.
	OnAcknowledgement(r Result, err error)
}

// Outgoing is a record as interceptors see it.
type Outgoing struct {
	Topic string
	// Headers are shared: change them by Add, Set and Del, which copy.
	Headers   pipeline.Headers
	Timestamp time.Time

	key, value []byte
	object     any
}

// Key is the serialized key of a [Record]. It is nil when a [Typed] sends: its key is
// not encoded yet. It must not be changed, and is valid until OnSend returns.
func (o *Outgoing) Key() []byte { return o.key }

// Value is what is being sent: the T of a [Typed], or the []byte of a [Record], which
// must not be changed and is valid until OnSend returns.
func (o *Outgoing) Value() any {
	if o.object != nil {
		return o.object
	}
	return o.value
}

// InterceptorFuncs is an [Interceptor] of functions, either of which may be nil.
type InterceptorFuncs struct {
	Send           func(o *Outgoing) error
	Acknowledgment func(r Result, err error)
}

// OnSend calls Send.
func (f InterceptorFuncs) OnSend(o *Outgoing) error {
	if f.Send == nil {
		return nil
	}
	return f.Send(o)
}

// OnAcknowledgement calls Acknowledgment.
func (f InterceptorFuncs) OnAcknowledgement(r Result, err error) {
	if f.Acknowledgment != nil {
		f.Acknowledgment(r, err)
	}
}

// interceptor is an Interceptor whose failures are counted.
type interceptor struct {
	Interceptor
	log      *slog.Logger
	failures atomic.Int64
	logged   atomic.Int64 // unix ns
}

const interceptorLogInterval = time.Minute

func (i *interceptor) failed(method string, err error) {
	n := i.failures.Add(1)
	last, now := i.logged.Load(), time.Now().UnixNano()
	if (last == 0 || now-last >= int64(interceptorLogInterval)) && i.logged.CompareAndSwap(last, now) {
		i.log.Warn("an interceptor failed; records are sent without it", "interceptor", fmt.Sprintf("%T", i.Interceptor), "method", method, "failures", n, "error", err)
	}
}

func (i *interceptor) onSend(o *Outgoing) {
	before := *o
	err := func() (err error) {
		defer recovered(&err)
		return i.OnSend(o)
	}()
	if err != nil {
		*o = before
		i.failed("OnSend", err)
	}
}

func (i *interceptor) onAcknowledgement(r Result, outcome error) {
	err := func() (err error) {
		defer recovered(&err)
		i.OnAcknowledgement(r, outcome)
		return nil
	}()
	if err != nil {
		i.failed("OnAcknowledgement", err)
	}
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &pipeline.PanicError{Value: v}
	}
}

// intercept shows a record to the interceptors. object is what it was encoded from, or
// will be.
func (p *Producer) intercept(r Record, object any) Record {
	o := &Outgoing{Topic: r.Topic, Headers: r.Headers, Timestamp: r.Timestamp, key: r.Key, value: r.Value, object: object}
	for _, i := range p.interceptors {
		i.onSend(o)
	}
	r.Topic, r.Headers, r.Timestamp = o.Topic, o.Headers, o.Timestamp
	return r
}

func (p *Producer) acknowledge(r Result, err error) {
	for _, i := range p.interceptors {
		i.onAcknowledgement(r, err)
	}
}

func (p *Producer) closeInterceptors() (err error) {
	for _, i := range p.interceptors {
		if c, ok := i.Interceptor.(io.Closer); ok {
			err = firstOf(err, c.Close())
		}
	}
	return err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
