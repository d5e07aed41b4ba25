package send

import (
	"time"

	"github.com/leat-stream/leat/internal/recordbatch"
)

// Record is what Send takes. Its slices are copied; they are the caller's again
// when Send returns.
type Record struct {
	Topic      string
	Partition  int32
	Key, Value []byte // nil is null
	Headers    []Header
	// Timestamp has a precision of a millisecond; the zero time means now.
	Timestamp time.Time
	// Done, if not nil, is told the outcome. It is called on the machine's
	// goroutine and must not block.
	Done Completion
}

// Header is one header of a record.
type Header = recordbatch.Header

// Completion is told what became of a record.
type Completion interface {
	// Complete is called once. Offset is -1 if it is not known.
	Complete(offset int64, timestamp time.Time, err error)
}

// The most that a batch and its parts take beside keys, values and headers.
const (
	batchOverhead  = recordbatch.HeaderSize
	recordOverhead = 31
	headerOverhead = 10
)

// Size is an upper bound of a record in a batch of its own.
func (r *Record) Size() int {
	n := batchOverhead + recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverhead + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// millis is the record's timestamp. One without gets the present time, as with
// every Kafka client.
func (r *Record) millis() int64 {
	if r.Timestamp.IsZero() {
		return time.Now().UnixMilli()
	}
	return r.Timestamp.UnixMilli()
}
