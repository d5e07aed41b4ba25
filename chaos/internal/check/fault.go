package check

import "time"

// Fault is what was done to the cluster or the workers.
type Fault struct {
	Name string
	// Began is when it began. Healed is when everything that it broke was whole
	// again: brokers that were killed run, connections are not cut any more.
	Began, Healed time.Time
}

// calm returns the time from a fault's healing to the next fault, or to end.
func calm(faults []Fault, i int, end time.Time) (from, to time.Time) {
	from, to = faults[i].Healed, end
	for j, f := range faults {
		switch {
		case j == i:
		case f.Began.Before(to) && !f.Began.Before(from):
			to = f.Began
		case f.Began.Before(from) && f.Healed.After(from): // one that is still there
			to = from
		}
	}
	return from, to
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
