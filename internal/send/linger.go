package send

import "time"

// linger is how long batches wait for more records. With Config.LingerMax it adapts:
//
//   - While requests overlap and their batches are not full, the wait is doubled: what
//     travels side by side could travel together.
//   - When requests carry hardly more than one record for all the waiting, it ends: who
//     waits for each record's outcome gains nothing by it.
//   - Within it, batches leave as soon as no record comes any more, so that a burst
//     does not wait for the end of the time.
//
// Full batches never wait, so there is nothing to do under a steady full load.
type linger struct {
	least, most time.Duration
	batchSize   int64

	now  time.Duration
	from counts    // where the window began
	next time.Time // when it may end at the earliest
	hold time.Time // no longer wait before

	looked time.Time // when records were counted last
	taken  int64     // how many there were
}

// counts are the counters that a window is judged by.
type counts struct{ requests, overlaps, batches, bytes, records int64 }

const (
	lingerWindow   = 20 * time.Millisecond
	lingerRequests = 16 // that a window has at least
	lingerHold     = time.Second
	lingerSteps    = 16                     // LingerMax is reached from 1/16 of it by doubling
	lingerPauses   = 8                      // a pause is 1/8 of LingerMax,
	lingerPause    = 500 * time.Microsecond // and this at least
)

func (l *linger) adaptive() bool { return l.most > 0 }

// adapt takes a step when a window is over.
func (l *linger) adapt(s *stats, now time.Time) {
	if !l.adaptive() || now.Before(l.next) {
		return
	}
	c := counts{s.requests.Load(), s.overlaps.Load(), s.batches.Load(), s.batchBytes.Load(), s.recordsSent.Load()}
	w := counts{c.requests - l.from.requests, c.overlaps - l.from.overlaps, c.batches - l.from.batches, c.bytes - l.from.bytes, c.records - l.from.records}
	if w.requests < lingerRequests {
		return
	}
	l.from, l.next = c, now.Add(lingerWindow)
	switch {
	case l.now > l.least && w.records*2 < w.requests*3: // less than one and a half to a request
		l.now, l.hold = l.least, now.Add(lingerHold)
	case w.overlaps*4 >= w.requests && w.bytes*5 < w.batches*l.batchSize*4 && !now.Before(l.hold):
		l.now = min(l.most, max(2*l.now, l.most/lingerSteps))
	}
	s.linger.Store(int64(l.now))
}

// pause is how long no record must have come for batches to leave.
func (l *linger) pause() time.Duration { return max(l.most/lingerPauses, lingerPause) }

// paused tells that no record was taken for a pause, given the number of all records
// taken until now, and when to ask again.
func (l *linger) paused(taken func() int64, now time.Time) (yes bool, again time.Time) {
	if again = l.looked.Add(l.pause()); again.After(now) {
		return false, again
	}
	n := taken()
	yes = n == l.taken
	l.looked, l.taken = now, n
	return yes, now.Add(l.pause())
}
