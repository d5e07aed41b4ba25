package send

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// window is what happens between two looks of linger: requests, how many of them
// beside others, the records in each, and the size of each batch, of 1000.
type window struct{ requests, overlaps, records, size int64 }

func (w window) count(s *stats) {
	s.requests.Add(w.requests)
	s.overlaps.Add(w.overlaps)
	s.batches.Add(w.requests)
	s.batchBytes.Add(w.requests * w.size)
	s.recordsSent.Add(w.requests * w.records)
}

func TestLingerAdapts(t *testing.T) {
	alone, beside := window{16, 0, 1, 100}, window{16, 4, 2, 200}
	many, full := window{16, 0, 8, 700}, window{16, 16, 8, 800}
	tests := map[string]struct {
		begin   time.Duration
		windows []window
		want    []time.Duration // after each
	}{
		"one record after the other":   {0, []window{alone, alone}, []time.Duration{0, 0}},
		"requests overlap":             {0, []window{beside, beside, many, {16, 4, 2, 790}}, []time.Duration{ms, 2 * ms, 2 * ms, 4 * ms}},
		"up to the bound":              {12 * ms, []window{{16, 16, 9, 100}, {16, 16, 9, 100}}, []time.Duration{16 * ms, 16 * ms}},
		"full batches":                 {0, []window{full, full}, []time.Duration{0, 0}},
		"waiting for nothing":          {16 * ms, []window{alone, {16, 16, 1, 100}}, []time.Duration{0, 0}},
		"too few requests to learn of": {0, []window{{15, 15, 1, 100}, {1, 0, 1, 100}}, []time.Duration{0, ms}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, s, now := &linger{most: 16 * ms, now: tt.begin, batchSize: 1000}, new(stats), simStart
			for i, w := range tt.windows {
				w.count(s)
				l.adapt(s, now)
				if l.now != tt.want[i] {
					t.Fatalf("after window %d linger is %v, want %v", i, l.now, tt.want[i])
				}
				now = now.Add(lingerWindow)
			}
		})
	}

	t.Run("a second after waiting for nothing", func(t *testing.T) {
		l, s := &linger{most: 16 * ms, now: 16 * ms, batchSize: 1000}, new(stats)
		alone.count(s)
		if l.adapt(s, simStart); l.now != 0 {
			t.Fatalf("linger is %v, want none", l.now)
		}
		beside.count(s)
		if l.adapt(s, simStart.Add(lingerHold-1)); l.now != 0 {
			t.Fatalf("linger is %v during the hold, want none", l.now)
		}
		beside.count(s)
		if l.adapt(s, simStart.Add(lingerHold+lingerWindow)); l.now != ms {
			t.Fatalf("linger is %v after the hold, want 1ms", l.now)
		}
	})

	t.Run("windows are not shorter than 20 ms", func(t *testing.T) {
		l, s := &linger{most: 16 * ms, batchSize: 1000}, new(stats)
		for i, want := range []time.Duration{ms, ms, 2 * ms} {
			beside.count(s)
			if l.adapt(s, simStart.Add(time.Duration(i)*10*ms)); l.now != want {
				t.Fatalf("linger is %v at %d ms, want %v", l.now, 10*i, want)
			}
		}
	})
}

// lingering is a machine whose batches hold many records and wait 16 ms.
func lingering(t *testing.T, partitions int32) *bench {
	b := newBench(t, Config{BatchSize: 10_000, LingerMax: 16 * ms}, partitions)
	b.m.linger.now = 16 * ms
	return b
}

func (b *bench) until(millis int) { b.now = simStart.Add(time.Duration(millis) * ms) }

// TestLingerPause: batches leave when no record has come for a pause, and wait while
// records come.
func TestLingerPause(t *testing.T) {
	b := lingering(t, 2)
	b.send(0)
	b.step(0)
	b.until(1)
	b.send(1)
	b.step(0)
	b.until(2)
	b.step(0) // one has come since the last look
	b.until(3)
	b.step(0) // a pause is 2 ms
	b.until(4)
	b.step(1)
	if n := len(b.requests[0].batches); n != 2 {
		t.Fatalf("the request has %d batches, want both", n)
	}
}

// TestLingerWakes: the machine says when it must look for the pause.
func TestLingerWakes(t *testing.T) {
	b := lingering(t, 1)
	b.send(0)
	if next := b.m.step(b.now); !next.Equal(b.now.Add(2 * ms)) {
		t.Fatalf("the next step is in %v, want 2ms", next.Sub(b.now))
	}
	b.until(2)
	b.step(1)
}

// TestLingerCompany: what has waited for half of the time goes with what has waited
// for all of it.
func TestLingerCompany(t *testing.T) {
	b := lingering(t, 4)
	first := map[int]int32{0: 0, 7: 1, 9: 2}
	for at := range 16 {
		b.until(at)
		if p, ok := first[at]; ok {
			b.send(p)
		}
		b.send(3) // so that there is no pause; its batch is as old as the first
		b.step(0)
	}
	b.until(16)
	b.step(1)
	var who []int32
	for _, x := range b.requests[0].batches {
		who = append(who, x.part.id)
	}
	if slices.Sort(who); !slices.Equal(who, []int32{0, 1, 3}) {
		t.Fatalf("the request has batches of the partitions %v, want 0, 1 and 3", who)
	}
}

// TestLingerFull: full batches do not wait.
func TestLingerFull(t *testing.T) {
	b := lingering(t, 1)
	for range 90 { // of some 110 bytes
		b.send(0)
	}
	b.step(0)
	for range 10 {
		b.send(0)
	}
	b.step(1)
	if n := b.requests[0].batches[0].count(); n < 80 {
		t.Fatalf("%d records", n)
	}
	if n := b.m.taken(); n != 100 { // in full batches as well
		t.Fatalf("%d records are counted, want 100", n)
	}
}

// TestLingerFlush: a flush ends the waiting.
func TestLingerFlush(t *testing.T) {
	b := lingering(t, 1)
	b.send(0)
	b.step(0)
	b.m.acc.rounds.end()
	b.step(1)
}
