package check

// Counter is something that a fault must have moved.
type Counter struct {
	Name       string
	Got, Least int64
}

// CheckHit sees that the faults did something: a suite whose faults miss proves
// nothing.
func CheckHit(counters []Counter) []Violation {
	f := findings{of: Hit}
	for _, c := range counters {
		if c.Got < c.Least {
			f.add("%s: %d, less than %d", c.Name, c.Got, c.Least)
		}
	}
	return f.all()
}
