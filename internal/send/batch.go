package send

import (
	"time"

	"github.com/leat-stream/leat/internal/recordbatch"
)

// batch is records of one partition that travel together.
type batch struct {
	part    *partition
	body    recordbatch.Body
	done    []Completion
	hasDone bool
	charge  int64     // what it takes of the buffer
	round   *round    // of flushing
	born    time.Time // first append

	// The machine's.
	sealed bool
	pid    int64
	epoch  int16
	seq    int32
	order  int64 // counts the batches numbered on the partition
	flying bool
	tries  int
	reborn bool // renumbered under a later epoch

	// Its connection's while it flies: the compressed body, once made.
	wire *wireBuffer
}

// wireBuffer is pooled: only batches that are sent have one.
type wireBuffer struct{ bytes []byte }

func (b *batch) count() int32 { return b.body.Count() }

// size is what the batch takes on the wire before compression.
func (b *batch) size() int { return batchOverhead + len(b.body.Bytes()) }

// bytesPerRecord is the least that a record counts for, so that what a batch
// remembers of its records is bounded by its size, too.
const bytesPerRecord = 32

// append copies a record in. It reports false if that would not fit.
func (b *batch) append(r *Record, limit int) bool {
	at := r.millis()
	if n := int(b.count()); n > 0 {
		if d := at - b.body.First(); d > maxDelta || d < -maxDelta || (n+1)*bytesPerRecord > limit {
			return false
		}
	}
	if !b.body.Append(limit-batchOverhead, at, r.Key, r.Value, r.Headers) {
		return false
	}
	b.done = append(b.done, r.Done)
	b.hasDone = b.hasDone || r.Done != nil
	return true
}

// maxDelta bounds how far timestamps of a batch may be apart, in milliseconds:
// readers in Go take the difference as a time.Duration, which holds 292 years.
const maxDelta = 100 * 365 * 24 * 3600 * 1000

// frame is what the batch's header says.
func (b *batch) frame(codec recordbatch.Codec, transactional bool) recordbatch.Frame {
	f := recordbatch.Frame{Codec: codec, Transactional: transactional, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
	if b.epoch >= 0 {
		f.ProducerID, f.ProducerEpoch, f.FirstSequence = b.pid, b.epoch, b.seq
	}
	return f
}

// split cuts the batch in two and returns the second half, with memory of its own.
func (b *batch) split() (*batch, error) {
	half := b.count() / 2
	tail := &batch{part: b.part, born: b.born, hasDone: b.hasDone, tries: b.tries, round: b.round, sealed: true, pid: -1, epoch: -1}
	if err := b.body.Split(half, &tail.body); err != nil {
		return nil, err
	}
	tail.charge = int64(cap(tail.body.Bytes()))
	tail.done = append(tail.done, b.done[half:]...)
	clear(b.done[half:])
	b.done, b.wire = b.done[:half], nil
	return tail, nil
}
