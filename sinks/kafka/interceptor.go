package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Interceptor looks at every record of a [Producer] or of a pipeline ([Config]), for
// metrics, tracing, auditing. Both methods may be called from several goroutines at once
// and must not block. An error or panic in one is counted, logged at most once a minute,
// and otherwise without effect: the record is sent as if the interceptor had not been
// there. So an interceptor is no place to validate. One that is an io.Closer is closed
// once, with the producer or at the end of [Run].
type Interceptor interface {
	// OnSend is called on the sender's goroutine, before the value is encoded or a
	// partition is chosen. It may change what Outgoing has as fields; the changes of an
	// OnSend that fails are undone.
	//
	// In a pipeline it is called by To and ToEach and for dead letters, on the
	// goroutine of the record's partition (for a dead letter of a table, the table's),
	// and again for every output that a replay makes anew. Outputs that are dropped
	// because their record fails later on have been seen, too. A topic that the
	// pipeline does not write, and another one for a dead letter, are a failure of the
	// interceptor. What it adds counts towards MaxRequestSize.
	OnSend(o *Outgoing) error
	// OnAcknowledgement is told the outcome, before the record's callback, on the
	// callbacks' goroutine; for a send that fails at once, on the sender's. In a
	// transaction, acknowledged is not committed yet.
	//
	// In a pipeline it is called once for every output that is handed to the producer,
	// on one goroutine of the run, in the order that Callback states; an output that is
	// replayed has an outcome for each time. It is waited for with every commit, at most
	// TransactionTimeout: slow ones delay commits, and when 262,144 outcomes wait, the
	// pipeline. Result.Latency begins with the hand-over.
	OnAcknowledgement(r Result, err error)
}

// TransactionInterceptor is an [Interceptor] that is also told how transactions end.
type TransactionInterceptor interface {
	Interceptor
	// OnTransactionEnd is called after OnAcknowledgement for all of the transaction's
	// records, on the same goroutine; in a pipeline it is waited for with the commit. A
	// nil err says that it was committed, [ErrUnknownOutcome] that nobody knows, any
	// other that nothing of it will be seen.
	OnTransactionEnd(err error)
}

// HeadersInterceptor is an [Interceptor] that is told with the outcome which record it
// is of. Kafka: onAcknowledgement with headers, KIP-512. A [Producer] that has one keeps
// a copy of each record's headers until then, beside BufferMemory.
type HeadersInterceptor interface {
	Interceptor
	// OnAcknowledgementHeaders is called in the place of OnAcknowledgement, with the
	// headers that were sent, or for a record that was not taken those that it had by
	// then. They must not be changed.
	OnAcknowledgementHeaders(r Result, headers pipeline.Headers, err error)
}

// Outgoing is a record as interceptors see it.
type Outgoing = pipeline.Outgoing

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
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		*o = before
		i.failed("OnSend", err)
	}
}

func (i *interceptor) onAcknowledgement(r Result, headers pipeline.Headers, outcome error) {
	method := "OnAcknowledgement"
	err := func() (err error) {
		defer recovered(&err)
		if h, ok := i.Interceptor.(HeadersInterceptor); ok {
			method = "OnAcknowledgementHeaders"
			h.OnAcknowledgementHeaders(r, headers, outcome)
			return nil
		}
		i.OnAcknowledgement(r, outcome)
		return nil
	}()
	if err != nil {
		i.failed(method, err)
	}
}

func (i *interceptor) onTransactionEnd(t TransactionInterceptor, outcome error) {
	err := func() (err error) {
		defer recovered(&err)
		t.OnTransactionEnd(outcome)
		return nil
	}()
	if err != nil {
		i.failed("OnTransactionEnd", err)
	}
}

func (i *interceptor) close() (err error) {
	defer recovered(&err)
	if c, ok := i.Interceptor.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &pipeline.PanicError{Value: v}
	}
}

// interceptors are those of one producer or sink, in order.
type interceptors []*interceptor

func newInterceptors(all []Interceptor, log *slog.Logger) (is interceptors) {
	for _, i := range all {
		is = append(is, &interceptor{Interceptor: i, log: log})
	}
	return is
}

func missingInterceptors(all []Interceptor) (bad []error) {
	for i, x := range all {
		if x == nil {
			bad = append(bad, fmt.Errorf("number %d of Interceptors is nil", i))
		}
	}
	return bad
}

func (is interceptors) onSend(o *Outgoing) {
	for _, i := range is {
		i.onSend(o)
	}
}

// onAcknowledgement tells an outcome. headers are nil if nobody wants them.
func (is interceptors) onAcknowledgement(r Result, headers pipeline.Headers, err error) {
	for _, i := range is {
		i.onAcknowledgement(r, headers, err)
	}
}

func (is interceptors) wantHeaders() bool {
	return slices.ContainsFunc(is, func(i *interceptor) bool {
		_, ok := i.Interceptor.(HeadersInterceptor)
		return ok
	})
}

func (is interceptors) failures() (n int64) {
	for _, i := range is {
		n += i.failures.Load()
	}
	return n
}

func (is interceptors) close() error {
	var bad []error
	for _, i := range is {
		if err := i.close(); err != nil {
			bad = append(bad, fmt.Errorf("close interceptor %T: %w", i.Interceptor, err))
		}
	}
	return errors.Join(bad...)
}

// transactionEnd is an outcome on its way to those who want to know.
type transactionEnd struct {
	link
	is  interceptors
	err error
}

// transactionEnded tells how a transaction has ended.
func (is interceptors) transactionEnded(c *callbacks, err error) {
	for _, i := range is {
		if _, ok := i.Interceptor.(TransactionInterceptor); ok {
			e := &transactionEnd{is: is, err: err}
			e.of = e
			c.post(&e.link)
			return
		}
	}
}

func (e *transactionEnd) tell() {
	for _, i := range e.is {
		if t, ok := i.Interceptor.(TransactionInterceptor); ok {
			i.onTransactionEnd(t, e.err)
		}
	}
}

// intercept shows a record to the interceptors. object is what it was encoded from, or
// will be.
func (p *Producer) intercept(ctx context.Context, r Record, object any) Record {
	o := pipeline.NewOutgoing(ctx, r.Key, r.Value, object)
	o.Topic, o.Headers, o.Timestamp = r.Topic, slices.Clip(r.Headers), r.Timestamp // clipped: an append copies
	p.interceptors.onSend(o)
	r.Topic, r.Headers, r.Timestamp = o.Topic, o.Headers, o.Timestamp
	return r
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
