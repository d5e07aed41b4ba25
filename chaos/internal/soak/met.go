//go:build unix

package soak

// meetings are how often faults of a kind met something to harm.
type meetings struct {
	hits int64
	void int64 // faults that met nothing
}

// met notes what a fault has met, which may be nothing: no client talks to a broker that
// leads no partition, and two faults at once may leave each other little. But each kind
// must meet something in a part's whole time.
func (p *play) met(kind string, hits int64) {
	p.mu.Lock()
	m := p.meetings[kind]
	known := m != nil
	if !known {
		m = new(meetings)
		p.meetings[kind] = m
	}
	m.hits += hits
	if hits == 0 {
		m.void++
	}
	p.mu.Unlock()
	if known {
		return
	}
	read := func(n *int64) func() int64 {
		return func() int64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return *n
		}
	}
	p.MustReach(kind, 1, read(&m.hits))
	p.MustReach(kind+" that met nothing", 0, read(&m.void))
}
