package kafka

import (
	"bytes"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Record is what a [Producer] sends.
type Record struct {
	// Topic must exist; Leat never creates one.
	Topic string
	// Key and Value are bytes; nil is null, which is not the same as empty. They
	// are copied: when a send returns, they are the caller's again.
	Key, Value []byte
	// Headers are copied, too.
	Headers pipeline.Headers
	// Timestamp has a precision of a millisecond and must not be before 1970.
	// Default: now.
	Timestamp time.Time
	// Partitioner, if not nil, takes the place of the producer's for this record;
	// [ToPartition] names a partition outright.
	Partitioner pipeline.Partitioner
}

// Result is where a record was written.
type Result struct {
	Topic     string
	Partition int32
	// Offset is -1 if it is not known: with AcksNone, with an error, and when the
	// broker had the record already and does not say where.
	Offset int64
	// Timestamp is the record's, or the broker's if the topic sets it to the time
	// of appending (message.timestamp.type=LogAppendTime).
	Timestamp time.Time
	// Latency is the time from the send's beginning to its outcome.
	Latency time.Duration
}

// Callback is told the outcome of one record, once. With an error, which is a
// [*DeliveryError], only Topic, Partition and Latency of the result mean anything.
//
// A producer has one goroutine for callbacks, interceptors' OnAcknowledgement, its
// hooks and the completion of futures. Those of a batch come in the order of its
// records, and batches of a partition in the order in which they were settled, which
// is another one if an earlier batch had to be sent again. A callback that takes long does not delay the sending, but the outcomes
// after its own, and when MaxPending of them wait, every send. It may send: such a
// send waits for room in the buffer as any other, and instead of waiting for other
// callbacks it goes beyond MaxPending, to twice as much, and then fails with
// [ErrBufferFull]. It must not wait for what only a later callback can bring:
// SendSync, SendMany, Future.Wait, Flush, InTransaction and Close answer
// [ErrInCallback] at once. A panic in it is not caught.
type Callback func(Result, error)

// clone copies a record, so that it can be kept.
func (r *Record) clone() *Record {
	c := *r
	c.Key, c.Value, c.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), cloneHeaders(r.Headers)
	return &c
}

func cloneHeaders(h pipeline.Headers) pipeline.Headers {
	c := slices.Clone(h)
	for i := range c {
		c[i].Value = bytes.Clone(c[i].Value)
	}
	return c
}
