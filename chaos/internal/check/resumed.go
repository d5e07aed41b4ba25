package check

import (
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// CheckResumed sees that after each fault every input partition is committed further,
// or to its end, within limit of the healing. If another fault begins before that, it
// is that one's healing that counts.
func CheckResumed(samples []history.Sample, faults []Fault, limit time.Duration) []Violation {
	f := findings{of: Resumed}
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1].At
	for i, fault := range faults {
		from, to := calm(faults, i, last)
		if to.Sub(from) < limit {
			continue // too short to say
		}
		window := between(samples, from, from.Add(limit))
		if len(window) == 0 {
			f.add("nothing is known of the %v after %s was healed", limit, fault.Name)
			continue
		}
		before := positionsBy(samples, from)
		for p := range window[len(window)-1].Input {
			if !moved(window, p, before[p]) {
				f.add("partition %d stood at %d for %v after %s was healed at %s", p, before[p], limit, fault.Name, clock(from))
			}
		}
	}
	return f.all()
}

func between(samples []history.Sample, from, to time.Time) (in []history.Sample) {
	for _, s := range samples {
		if !s.At.Before(from) && !s.At.After(to) {
			in = append(in, s)
		}
	}
	return in
}

// positionsBy returns the highest position known of each partition at a time.
func positionsBy(samples []history.Sample, at time.Time) map[int]int64 {
	known := map[int]int64{}
	for _, s := range samples {
		if s.At.After(at) {
			break
		}
		for p, c := range s.Committed {
			known[p] = max(known[p], c)
		}
	}
	return known
}

func moved(window []history.Sample, partition int, before int64) bool {
	for _, s := range window {
		committed := committedAt(s, partition)
		if committed > before {
			return true
		}
		if end := inputEnd(s, partition); end != history.Unknown && max(committed, 0) >= end {
			return true
		}
	}
	return false
}

func inputEnd(s history.Sample, partition int) int64 {
	if partition >= len(s.Input) {
		return history.Unknown
	}
	return s.Input[partition]
}
