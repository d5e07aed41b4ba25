package check

import "time"

// Fault is what was done to the cluster or the workers.
type Fault struct {
	Name string
	// Kind is what recoveries are summed up by; "" means the name.
	Kind string
	// Began is when it began. Healed is when everything that it broke was whole
	// again: brokers that were killed run, connections are not cut any more. It is zero
	// if that never was.
	Began, Healed time.Time
}

func (f Fault) kind() string {
	if f.Kind == "" {
		return f.Name
	}
	return f.Kind
}

// lasts reports whether the fault, begun before t, is still there at t.
func (f Fault) lasts(t time.Time) bool {
	return f.Began.Before(t) && (f.Healed.IsZero() || f.Healed.After(t))
}

// calm returns the time from a fault's healing to the next fault, or to end. There is
// none while another one is still there: of faults that overlap, it is the one that is
// healed last which calm follows.
func calm(faults []Fault, i int, end time.Time) (from, to time.Time) {
	from, to = faults[i].Healed, end
	for j, f := range faults {
		switch {
		case j == i:
		case f.lasts(from):
			return from, from
		case f.Began.Before(to) && !f.Began.Before(from):
			to = f.Began
		}
	}
	return from, to
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
