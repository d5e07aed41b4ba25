package history

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// resolver turns what is in a partition's log into what is committed, by the markers
// in it: it holds records back until the marker of their transaction is there, and
// those of earlier ones, as a broker does for readers of committed records.
type resolver struct {
	held []held
	open map[int64]int // transactions under way: the number of held records
}

// held is a record of a transaction of which it is not known yet how it ends, or that
// comes after one.
type held struct {
	*kgo.Record
	state state
}

type state uint8

const (
	pending state = iota
	committed
	aborted
)

// add takes the next record of the log and calls emit for each that is committed, in
// order.
func (s *resolver) add(r *kgo.Record, emit func(*kgo.Record)) {
	switch {
	case r.Attrs.IsControl():
		s.end(r)
	case r.Attrs.IsTransactional():
		if s.open == nil {
			s.open = map[int64]int{}
		}
		s.open[r.ProducerID]++
		s.held = append(s.held, held{r, pending})
	default:
		s.held = append(s.held, held{r, committed})
	}
	n := 0
	for ; n < len(s.held) && s.held[n].state != pending; n++ {
		if s.held[n].state == committed {
			emit(s.held[n].Record)
		}
	}
	if n > 0 {
		s.held = append(s.held[:0], s.held[n:]...)
	}
}

// end resolves a producer's transaction. A marker's key is a version and a type, 0 for
// abort and 1 for commit, in two bytes each.
func (s *resolver) end(marker *kgo.Record) {
	if len(marker.Key) < 4 || s.open[marker.ProducerID] == 0 {
		return
	}
	to := aborted
	if binary.BigEndian.Uint16(marker.Key[2:]) == 1 {
		to = committed
	}
	delete(s.open, marker.ProducerID)
	for i := range s.held {
		if h := &s.held[i]; h.state == pending && h.ProducerID == marker.ProducerID {
			h.state = to
		}
	}
}
