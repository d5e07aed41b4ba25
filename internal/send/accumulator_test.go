package send

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"
)

// newTestAccumulator has one topic, t, with two partitions, and a clock that
// stands still.
func newTestAccumulator(cfg *Config) *accumulator {
	a := newAccumulator(cfg, func() {})
	a.now = func() time.Time { return simStart }
	st := new(stats)
	a.topics.Store(&map[string][]*partition{"t": {{topic: "t", id: 0, stats: st}, {topic: "t", id: 1, stats: st}}})
	return a
}

func TestSealing(t *testing.T) {
	cfg := &Config{BatchSize: 1000, BufferMemory: 10000, MaxRequestSize: 5000}
	a := newTestAccumulator(cfg)
	pt := a.partitions("t")[0]
	send := func(n int) {
		t.Helper()
		if err := a.append(t.Context(), &Record{Topic: "t", Value: make([]byte, n)}); err != nil {
			t.Fatal(err)
		}
	}
	sizes := func() (out []int32) {
		for _, b := range pt.queue {
			out = append(out, b.count())
		}
		return out
	}
	send(300)
	send(300)
	if due, _ := pt.collect(simStart, time.Second, time.Time{}); !due.Equal(simStart.Add(time.Second)) || len(pt.queue) != 0 {
		t.Errorf("a batch that has not lingered: due %v, %v", due, sizes())
	}
	send(400) // does not fit
	if pt.collect(simStart, time.Second, time.Time{}); len(sizes()) != 1 || sizes()[0] != 2 {
		t.Errorf("a full batch is not sealed: %v", sizes())
	}
	if due, aged := pt.collect(simStart.Add(time.Second), time.Second, time.Time{}); !due.IsZero() || !aged || len(sizes()) != 2 {
		t.Errorf("a batch that has lingered is not sealed: %v", sizes())
	}
	send(2000) // larger than a batch: one of its own
	if pt.collect(simStart, time.Second, time.Time{}); len(sizes()) != 3 || pt.queue[2].charge < 2000 {
		t.Errorf("a large record has no batch of its own: %v", sizes())
	}
	send(1)
	if pt.collect(simStart, 0, time.Time{}); len(sizes()) != 4 {
		t.Errorf("a batch that is wanted at once is not sealed: %v", sizes())
	}
	for _, b := range pt.queue {
		a.settle(b)
	}
	if a.mem.available() != cfg.BufferMemory {
		t.Errorf("%d bytes are left", a.mem.available())
	}
}

func TestAppendRefuses(t *testing.T) {
	a := newTestAccumulator(&Config{BatchSize: 1000, BufferMemory: 2000, MaxRequestSize: 3000})
	for _, x := range []struct {
		r    Record
		want error
	}{
		{Record{Topic: "t", Value: make([]byte, 3000)}, ErrTooLarge},
		{Record{Topic: "t", Value: make([]byte, 2500)}, ErrTooLarge}, // than the buffer
		{Record{Topic: "u"}, ErrUnknownTopic},
		{Record{Topic: "t", Partition: 2}, ErrUnknownTopic},
		{Record{Topic: "t", Partition: -1}, ErrUnknownTopic},
	} {
		if err := a.append(t.Context(), &x.r); !errors.Is(err, x.want) {
			t.Errorf("%s-%d of %d bytes: %v", x.r.Topic, x.r.Partition, len(x.r.Value), err)
		}
	}
	a.partitions("t")[0].close(ErrClosed)
	if err := a.append(t.Context(), &Record{Topic: "t"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed partition: %v", err)
	}
	a.fail(ErrFatal)
	if err := a.append(t.Context(), &Record{Topic: "t", Partition: 1}); !errors.Is(err, ErrFatal) {
		t.Errorf("a failed producer: %v", err)
	}
	if a.mem.available() != 2000 {
		t.Errorf("%d bytes are left", a.mem.available())
	}
}

// Callers append while batches are collected and settled; each caller's records
// keep their order.
func TestConcurrentAppends(t *testing.T) {
	cfg := &Config{BatchSize: 500, BufferMemory: 3000, MaxRequestSize: 500, MaxBlock: time.Minute}
	a := newTestAccumulator(cfg)
	work := make(chan struct{}, 1)
	a.wake = func() {
		select {
		case work <- struct{}{}:
		default:
		}
	}
	pt := a.partitions("t")[0]
	const callers, each = 4, 500
	var sending sync.WaitGroup
	for c := range uint64(callers) {
		sending.Go(func() {
			value := make([]byte, 60)
			for i := range uint64(each) {
				binary.BigEndian.PutUint64(value, c<<32|i)
				if err := a.append(context.Background(), &Record{Topic: "t", Value: value}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		sending.Wait()
		close(work)
	}()
	next := make([]uint64, callers)
	take := func() {
		pt.collect(time.Time{}, 0, time.Time{})
		for _, b := range pt.queue {
			for _, r := range decode(b) {
				id := binary.BigEndian.Uint64(r.value)
				if c := id >> 32; next[c] != id&(1<<32-1) {
					t.Errorf("caller %d: record %d where %d was due", c, id&(1<<32-1), next[c])
				}
				next[id>>32]++
			}
			a.settle(b)
		}
		pt.queue = pt.queue[:0]
	}
	for range work {
		take()
	}
	take()
	for c, n := range next {
		if n != each {
			t.Errorf("caller %d: %d of %d records", c, n, each)
		}
	}
	if a.mem.available() != cfg.BufferMemory {
		t.Errorf("%d bytes are left", a.mem.available())
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	cfg := &Config{BatchSize: 16 << 10, BufferMemory: 1 << 20, MaxRequestSize: 1 << 20}
	a := newTestAccumulator(cfg)
	pt := a.partitions("t")[0]
	r := &Record{Topic: "t", Key: make([]byte, 10), Value: make([]byte, 200), Timestamp: simStart}
	ctx := t.Context()
	got := testing.AllocsPerRun(20000, func() {
		if err := a.append(ctx, r); err != nil {
			t.Fatal(err)
		}
		if len(pt.ready) > 0 {
			pt.collect(simStart, time.Hour, time.Time{})
			a.settle(pt.queue[0])
			pt.queue = pt.queue[:0]
		}
	})
	if got > 0.05 {
		t.Errorf("%.2f allocations a record", got)
	}
}

func TestSplitKeepsRecords(t *testing.T) {
	a := newTestAccumulator(&Config{BatchSize: 10000, BufferMemory: 20000, MaxRequestSize: 5000})
	pt := a.partitions("t")[0]
	for i := range 5 {
		err := a.append(t.Context(), &Record{
			Topic: "t", Key: []byte{byte(i)}, Value: bytes.Repeat([]byte{byte(i)}, 10), Timestamp: simStart.Add(time.Duration(i%3) * time.Second),
			Headers: []Header{{Key: "n", Value: []byte{byte(i)}}, {Key: "null"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pt.collect(simStart, 0, time.Time{})
	head := pt.queue[0]
	tail, err := head.split()
	if err != nil {
		t.Fatal(err)
	}
	if head.count() != 2 || tail.count() != 3 || len(head.done) != 2 || len(tail.done) != 3 {
		t.Fatalf("%d and %d records", head.count(), tail.count())
	}
	i := byte(0)
	for _, b := range []*batch{head, tail} {
		for n, r := range decode(b) {
			ts := simStart.Add(time.Duration(i%3) * time.Second).UnixMilli()
			if r.key[0] != i || !bytes.Equal(r.value, bytes.Repeat([]byte{i}, 10)) || r.offset != int64(n) || r.at != ts {
				t.Errorf("record %d: %+v", i, r)
			}
			if len(r.headers) != 2 || r.headers[0].Value[0] != i || r.headers[1].Value != nil {
				t.Errorf("headers of record %d: %v", i, r.headers)
			}
			i++
		}
	}
}

// A batch holds records with and without a timestamp, and ones that are centuries
// apart go to different batches: a delta has no room for that.
func TestTimestamps(t *testing.T) {
	b := new(batch)
	old, now := time.UnixMilli(5), time.Now()
	for _, ts := range []time.Time{now, {}, now.Add(-time.Hour), old} {
		if !b.append(&Record{Timestamp: ts}, 1000) {
			t.Fatalf("%v does not fit", ts)
		}
	}
	if b.append(&Record{Timestamp: now.AddDate(250, 0, 0)}, 1000) {
		t.Error("a record 250 years later was taken into the same batch")
	}
	records := decode(b)
	got := func(i int) time.Time { return time.UnixMilli(records[i].at) }
	if d := got(1).Sub(now); d < -time.Millisecond || d > time.Minute {
		t.Errorf("a record without a timestamp got %v, want about now", got(1))
	}
	if want := now.Add(-time.Hour).UnixMilli(); got(2).UnixMilli() != want {
		t.Errorf("got %d ms, want %d", got(2).UnixMilli(), want)
	}
	if got(3).UnixMilli() != 5 {
		t.Errorf("got %d ms, want 5", got(3).UnixMilli())
	}
	a := newAccumulator(&Config{BatchSize: 1000, BufferMemory: 10000, MaxRequestSize: 1000}, func() {})
	if err := a.append(t.Context(), &Record{Timestamp: time.UnixMilli(-2)}); err != ErrTimestamp {
		t.Errorf("a timestamp before 1970 gives %v, want ErrTimestamp", err)
	}
}
