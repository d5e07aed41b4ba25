package send

import (
	"time"

	"github.com/IBM/sarama"
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
type Header struct {
	Key   string
	Value []byte
}

// Completion is told what became of a record.
type Completion interface {
	// Complete is called once. Offset is -1 if it is not known.
	Complete(offset int64, timestamp time.Time, err error)
}

const (
	batchOverhead  = 61
	recordOverhead = 21
	headerOverhead = 10
)

// Size is an upper bound of a record in a batch of its own.
func (r *Record) Size() int {
	n := batchOverhead + recordOverhead + 10 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverhead + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// batch is records of one partition that travel together.
type batch struct {
	part    *partition
	records []sarama.Record
	ptrs    []*sarama.Record
	arena   []byte // what the records refer to
	done    []Completion
	hasDone bool
	size    int
	charge  int64     // what it takes of the buffer
	round   *round    // of flushing
	born    time.Time // first append
	first   time.Time // first record's timestamp
	latest  time.Time

	// The machine's.
	wire   *sarama.RecordBatch
	pid    int64
	epoch  int16
	seq    int32
	order  int64 // counts the batches numbered on the partition
	flying bool
	tries  int
	reborn bool // renumbered under a later epoch
}

func (b *batch) count() int32 { return int32(len(b.records)) }

// append copies a record in. It reports false if that would not fit.
func (b *batch) append(r *Record, size, limit int) bool {
	if len(b.records) > 0 {
		if size -= batchOverhead; b.size+size > limit {
			return false
		}
	}
	ts := stamp(r.Timestamp)
	switch d := ts.Sub(b.first); {
	case len(b.records) == 0:
		b.first, b.latest = ts, ts
	case d > maxDelta || d < -maxDelta:
		return false
	case ts.After(b.latest):
		b.latest = ts
	}
	n := len(b.records)
	if n < cap(b.records) {
		b.records = b.records[:n+1]
	} else {
		b.records = append(b.records, sarama.Record{})
	}
	rec := &b.records[n]
	rec.Key, rec.Value = b.copy(r.Key), b.copy(r.Value)
	rec.OffsetDelta, rec.TimestampDelta = int64(n), ts.Sub(b.first)
	rec.Headers = nil
	if len(r.Headers) > 0 {
		rec.Headers = make([]*sarama.RecordHeader, len(r.Headers))
		for i, h := range r.Headers {
			rec.Headers[i] = &sarama.RecordHeader{Key: b.copyString(h.Key), Value: b.copy(h.Value)}
		}
	}
	b.done = append(b.done, r.Done)
	b.hasDone = b.hasDone || r.Done != nil
	b.size += size
	return true
}

// maxDelta bounds how far timestamps of a batch may be apart: a Duration holds 292
// years.
const maxDelta = 100 * 365 * 24 * time.Hour

// stamp is a timestamp in Kafka's precision. A record without one gets the present
// time, as with every Kafka client.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.Truncate(time.Millisecond)
}

// copy keeps null and empty apart.
func (b *batch) copy(p []byte) []byte {
	if p == nil {
		return nil
	}
	if len(b.arena)+len(p) > cap(b.arena) { // estimates are upper bounds, so only a record larger than a batch
		return append(make([]byte, 0, len(p)), p...)
	}
	n := len(b.arena)
	b.arena = append(b.arena, p...)
	return b.arena[n:len(b.arena):len(b.arena)]
}

func (b *batch) copyString(s string) []byte {
	if len(b.arena)+len(s) > cap(b.arena) {
		return []byte(s)
	}
	n := len(b.arena)
	b.arena = append(b.arena, s...)
	return b.arena[n:len(b.arena):len(b.arena)]
}

// seal makes the record batch that goes on the wire.
func (b *batch) seal(cfg *Config, transactional bool) {
	b.ptrs = b.ptrs[:0]
	for i := range b.records {
		b.ptrs = append(b.ptrs, &b.records[i])
	}
	b.wire = &sarama.RecordBatch{
		Version: 2, Codec: cfg.Compression, CompressionLevel: cfg.CompressionLevel, PartitionLeaderEpoch: -1,
		FirstTimestamp: b.first, MaxTimestamp: b.latest, LastOffsetDelta: b.count() - 1, Records: b.ptrs,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, IsTransactional: transactional,
	}
}

// split cuts the batch in two and returns the second half, with memory of its own.
func (b *batch) split() *batch {
	half := len(b.records) / 2
	tail := &batch{part: b.part, born: b.born, hasDone: b.hasDone, tries: b.tries, round: b.round}
	for _, r := range b.records[half:] {
		tail.charge += int64(len(r.Key) + len(r.Value))
	}
	tail.arena = make([]byte, 0, tail.charge)
	tail.records = append(tail.records, b.records[half:]...)
	tail.done = append(tail.done, b.done[half:]...)
	base := tail.records[0].TimestampDelta
	tail.first = b.first.Add(base)
	tail.latest = tail.first
	for i := range tail.records {
		r := &tail.records[i]
		r.Key, r.Value = tail.copy(r.Key), tail.copy(r.Value)
		r.OffsetDelta, r.TimestampDelta = int64(i), r.TimestampDelta-base
		for _, h := range r.Headers {
			h.Key, h.Value = append([]byte{}, h.Key...), cloneBytes(h.Value)
		}
		if ts := tail.first.Add(r.TimestampDelta); ts.After(tail.latest) {
			tail.latest = ts
		}
	}
	tail.size = b.size * len(tail.records) / len(b.records) // for the counters
	b.size -= tail.size
	clear(b.records[half:])
	clear(b.done[half:])
	b.records, b.done = b.records[:half], b.done[:half]
	b.latest = b.first
	for i := range b.records {
		if ts := b.first.Add(b.records[i].TimestampDelta); ts.After(b.latest) {
			b.latest = ts
		}
	}
	return tail
}

func cloneBytes(p []byte) []byte {
	if p == nil {
		return nil
	}
	return append([]byte{}, p...)
}
