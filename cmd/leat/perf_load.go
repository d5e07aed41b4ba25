package main

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/histogram"
	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/internal/send"
)

// load is the records that leat perf produce writes.
type load struct {
	p       *send.Producer
	o       *perfOptions
	bodies  [][]byte
	began   time.Time
	latency histogram.Histogram
	err     atomic.Pointer[error]
}

const (
	idSize = 8
	text   = `{"status":"ACTIVE","currency":"EUR","country":"DE","channel":"web","version":3,"tags":["a","b"]}`
)

// newLoad makes values beforehand: room for the number, half noise, half repeating text, so that
// they compress to about half. With the default sizes they are byte for byte those of the workers
// in bench, whose checker reads them all.
func newLoad(o *perfOptions) *load {
	l := &load{o: o, bodies: make([][]byte, 4096)}
	state := uint64(0x9E3779B97F4A7C15)
	for i := range l.bodies {
		b := make([]byte, o.size)
		noise, words := b[idSize:idSize+(o.size-idSize)/2], b[idSize+(o.size-idSize)/2:]
		for len(noise) > 0 {
			// xorshift64: the same bytes on every machine.
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			var eight [8]byte
			binary.LittleEndian.PutUint64(eight[:], state)
			noise = noise[copy(noise, eight[:]):]
		}
		for len(words) > 0 {
			words = words[copy(words, text):]
		}
		l.bodies[i] = b
	}
	return l
}

// record makes key and value number i, fresh as an application's are; both share one allocation.
func (l *load) record(i int64) (key, value []byte) {
	both := make([]byte, l.o.key+l.o.size)
	key, value = both[:l.o.key:l.o.key], both[l.o.key:]
	hex(key, uint64(i))
	copy(value, l.bodies[i%int64(len(l.bodies))])
	binary.BigEndian.PutUint64(value, uint64(i))
	return key, value
}

// sent is one record on its way; chunks of them are one allocation.
type sent struct {
	l     *load
	began time.Duration // since the load's
}

// Complete implements send.Completion.
func (s *sent) Complete(_ int64, _ time.Time, err error) {
	if err != nil {
		first := err // its address is taken: err itself would be allocated with each call
		s.l.err.CompareAndSwap(nil, &first)
		return
	}
	s.l.latency.Add(time.Since(s.l.began) - s.began)
}

func (l *load) failed() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *load) produce(ctx context.Context, p *send.Producer) error {
	l.p, l.began = p, time.Now()
	parts, err := l.p.Partitions(ctx, l.o.topic)
	if err != nil {
		return err
	}
	var chunk []sent
	var began time.Time
	for i := int64(0); i < l.o.records; i++ {
		if l.o.transaction && i%64 == 0 {
			if began, err = l.turn(ctx, began); err != nil {
				return err
			}
		}
		if l.o.throughput > 0 && i%l.o.burst == 0 {
			if err := l.pace(ctx, i); err != nil {
				return err
			}
		}
		if len(chunk) == 0 {
			chunk = make([]sent, 256)
		}
		key, value := l.record(i)
		now := time.Now()
		chunk[0] = sent{l, now.Sub(l.began)}
		r := send.Record{Topic: l.o.topic, Value: value, Timestamp: now, Done: &chunk[0]}
		chunk = chunk[1:]
		if l.o.key > 0 {
			r.Key = key
			r.Partition = murmur2.Partition(key, parts)
		} else {
			r.Partition = int32(i / 64 % int64(parts))
		}
		if err := l.p.Send(ctx, &r); err != nil {
			return err
		}
	}
	if l.o.transaction {
		return l.p.Commit(ctx)
	}
	return l.p.Flush(ctx)
}

// pace waits until record number i is due.
func (l *load) pace(ctx context.Context, i int64) error {
	due := l.began.Add(time.Duration(float64(i) / float64(l.o.throughput) * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turn ends a transaction whose time is over and begins the next.
func (l *load) turn(ctx context.Context, began time.Time) (time.Time, error) {
	if !began.IsZero() {
		if time.Since(began) < l.o.interval {
			return began, nil
		}
		if err := l.p.Commit(ctx); err != nil {
			return began, err
		}
	}
	return time.Now(), l.p.Begin(ctx)
}

func hex(dst []byte, v uint64) {
	const digits = "0123456789abcdef"
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = digits[v&15]
		v >>= 4
	}
}
