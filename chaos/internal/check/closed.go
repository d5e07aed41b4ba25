package check

import (
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// CheckClosed sees that no transaction outlives the faults: open are those that are
// left after the workers' end, which there must not be. limit is how old a transaction
// may be in calm times that have lasted that long.
func CheckClosed(open []history.OpenTransaction, samples []history.Sample, faults []Fault, limit time.Duration) []Violation {
	f := findings{of: Closed}
	for _, o := range open {
		f.add("still open at the end: %v", o)
	}
	if len(samples) == 0 {
		return f.all()
	}
	last := samples[len(samples)-1].At
	reported := map[history.OpenTransaction]bool{}
	for i := range faults {
		from, to := calm(faults, i, last)
		for _, s := range between(samples, from.Add(limit), to) {
			for _, o := range s.Open {
				if age := s.At.Sub(o.Since); !o.Since.IsZero() && age > limit && !reported[o] {
					reported[o] = true
					f.add("open for %v, %v after %s was healed: %v", age.Round(time.Second), s.At.Sub(from).Round(time.Second), faults[i].Name, o)
				}
			}
		}
	}
	return f.all()
}
