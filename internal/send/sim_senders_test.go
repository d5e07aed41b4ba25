package send

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// senders are the callers of a producer without transactions. Each numbers its
// records.
type senders struct {
	s       *sim
	a       *actor
	records []*simRecord
	sent    []int64 // records each has sent
	left    []int
	sending int // senders that have not finished
	ended   bool
	leaving bool
}

func newSenders(s *sim) *senders {
	d := &senders{s: s, sent: make([]int64, 1+s.rnd.IntN(3))}
	for range d.sent {
		d.left = append(d.left, 20+s.rnd.IntN(80))
	}
	d.sending = len(d.sent)
	return d
}

func (d *senders) start() {
	s := d.s
	d.a = s.newActor(1)
	if s.chance(s.f.leave) {
		s.after(s.upTo(5*time.Second), d.leave)
	}
	if !s.cfg.Idempotent {
		d.look()
		return
	}
	d.a.ask(time.Time{}, func(now time.Time, done func(error)) *call { return d.a.m.initialise(time.Time{}, now, done) }, func(err error) {
		if err == nil {
			d.look()
		} else if !d.leaving {
			s.violated("initialise: %v", err)
		}
	})
}

// look waits until the topics are known.
func (d *senders) look() {
	s := d.s
	if d.leaving {
		return
	}
	topics := map[string]bool{}
	for _, p := range s.cl.parts {
		topics[p.topic] = true
	}
	left := len(topics)
	for i := range left {
		var try func()
		try = func() {
			d.a.post(func(now time.Time) {
				d.a.m.lookUp(fmt.Sprintf("t%d", i), now.Add(time.Second), func(err error) {
					if err != nil {
						s.after(20*time.Millisecond, try)
						return
					}
					if left--; left == 0 {
						s.after(0, d.begin)
					}
				})
			})
		}
		try()
	}
}

func (d *senders) begin() {
	if d.s.seed%4 == 2 && d.s.cfg.Idempotent { // close to the end of the sequences
		id := d.a.m.id
		for _, pt := range d.a.m.parts {
			pt.pid, pt.epoch, pt.next = id.pid, id.epoch, math.MaxInt32-d.s.rnd.Int32N(30)
		}
	}
	for i := range d.sent {
		d.burst(i)
	}
}

// burst has a sender send a few records, and go on a little later.
func (d *senders) burst(i int) {
	s := d.s
	if d.leaving {
		return
	}
	for range 1 + s.rnd.IntN(8) {
		if d.left[i] == 0 {
			break
		}
		d.left[i]--
		d.sent[i]++
		if r := d.a.send(int64(i)<<32 | d.sent[i]); r != nil {
			d.records = append(d.records, r)
		}
	}
	if s.rnd.Float64() < s.f.flush {
		d.flush(func() {})
	}
	if d.left[i] > 0 {
		s.after(s.upTo(s.f.idle), func() { d.burst(i) })
		return
	}
	if d.sending--; d.sending == 0 {
		d.flush(d.probe)
	}
}

// probe sends a few more once faults have stopped: they must be acknowledged.
func (d *senders) probe() {
	s := d.s
	if !s.quiet && s.rnd.IntN(10) > 0 {
		s.after(50*time.Millisecond, d.probe)
		return
	}
	s.calm()
	first := len(d.records)
	for range 20 {
		d.sent[0]++
		if r := d.a.send(d.sent[0]); r != nil {
			d.records = append(d.records, r)
		}
	}
	d.flush(func() {
		for _, r := range d.records[first:] {
			if r.err != nil {
				s.violated("record %d, sent after the last fault: %v", r.id, r.err)
			}
		}
		d.ended = true
	})
}

// flush checks that a flush does what it says.
func (d *senders) flush(f func()) {
	before := slices.Clone(d.records)
	d.a.flush(time.Time{}, func(error) {
		for _, r := range before {
			if !r.settled {
				d.s.violated("record %d has no outcome after a flush", r.id)
			}
		}
		f()
	})
}

// leave closes the producer in the midst of it, as Producer.Close does.
func (d *senders) leave() {
	if d.s.quiet {
		return
	}
	d.s.tracef("close")
	d.leaving = true
	d.a.acc.fail(ErrClosed)
	d.a.acc.mem.close()
	d.a.post(func(time.Time) { d.a.m.close() })
}

func (d *senders) done() bool {
	if d.leaving {
		return d.a.m.finished() && !d.a.pending
	}
	return d.ended && d.a.settled()
}

func (d *senders) check() {
	s := d.s
	type place struct{ part, at int }
	places := map[int64][]place{}
	for pi, p := range s.cl.parts {
		ids, _ := p.visible()
		for i, id := range ids {
			places[id] = append(places[id], place{pi, i})
		}
	}
	last := map[[2]int64]int{} // by sender and partition, the place of its last record
	for _, r := range d.records {
		at := places[r.id]
		switch {
		case r.err == nil && len(at) == 0:
			s.violated("record %d was acknowledged and is lost", r.id)
		case s.cfg.Idempotent && len(at) > 1:
			s.violated("record %d is %d times in the log, outcome %v", r.id, len(at), r.err)
		case len(at) > 0 && s.cl.parts[at[0].part].tp != r.tp:
			s.violated("record %d is in %v, not %v", r.id, s.cl.parts[at[0].part].tp, r.tp)
		case r.err == nil && s.cfg.Idempotent:
			key := [2]int64{r.id >> 32, int64(at[0].part)}
			if prev, ok := last[key]; ok && at[0].at < prev {
				s.violated("record %d is before one that was sent before it", r.id)
			}
			last[key] = at[0].at
			if r.offset >= 0 && s.cl.parts[at[0].part].at(r.offset) != r.id {
				s.violated("record %d is not at offset %d", r.id, r.offset)
			}
		}
	}
}

// at is the record at an offset, or -1.
func (p *simPart) at(offset int64) int64 {
	for _, e := range p.log {
		if !e.marker && offset >= e.offset && offset < e.offset+int64(len(e.ids)) {
			return e.ids[offset-e.offset]
		}
	}
	return -1
}
