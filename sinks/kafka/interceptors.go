package kafka

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/histogram"
)

// The headers of [StampSendTime] and [StampHost].
const (
	HeaderSendTimestamp = "send-timestamp"
	HeaderProducerHost  = "producer-host"
)

// StampSendTime returns an interceptor that sets the header send-timestamp to the time
// of the send: milliseconds since 1970 in decimal text. It costs three allocations a
// record.
func StampSendTime() Interceptor {
	return InterceptorFuncs{Send: func(o *Outgoing) error {
		o.Headers = o.Headers.Set(HeaderSendTimestamp, strconv.AppendInt(nil, time.Now().UnixMilli(), 10))
		return nil
	}}
}

// StampHost returns an interceptor that sets the header producer-host to a host's name;
// empty means that of this one, as the operating system tells it.
func StampHost(host string) (Interceptor, error) {
	if host == "" {
		var err error
		if host, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	name := []byte(host)
	return InterceptorFuncs{Send: func(o *Outgoing) error {
		o.Headers = o.Headers.Set(HeaderProducerHost, name)
		return nil
	}}, nil
}

// ErrorCounter is an [Interceptor] that counts records that were not written, or not
// taken, by topic. Its zero value is ready.
type ErrorCounter struct{ topics sync.Map } // topic to *atomic.Int64

// OnSend does nothing.
func (c *ErrorCounter) OnSend(*Outgoing) error { return nil }

// OnAcknowledgement counts an error.
func (c *ErrorCounter) OnAcknowledgement(r Result, err error) {
	if err == nil {
		return
	}
	n, ok := c.topics.Load(r.Topic)
	if !ok {
		n, _ = c.topics.LoadOrStore(r.Topic, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

// Count returns the errors of a topic so far.
func (c *ErrorCounter) Count(topic string) int64 {
	if n, ok := c.topics.Load(topic); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

// LatencyHistogram is an [Interceptor] that measures how long records take from their
// send to their acknowledgement, Linger and retries included; those that fail are not
// counted. Its zero value is ready; it takes 8 KiB.
type LatencyHistogram struct{ h histogram.Histogram }

// OnSend does nothing.
func (l *LatencyHistogram) OnSend(*Outgoing) error { return nil }

// OnAcknowledgement counts the latency of a record that was written.
func (l *LatencyHistogram) OnAcknowledgement(r Result, err error) {
	if err == nil {
		l.h.Add(r.Latency)
	}
}

// Count returns the number of records so far.
func (l *LatencyHistogram) Count() int64 { return l.h.Count() }

// Quantile returns the time that a share q of the records (0 to 1) took at most, to
// 1/16 of its size; 0 if there were none.
func (l *LatencyHistogram) Quantile(q float64) time.Duration { return l.h.Quantile(q) }
