package pipeline

import "sync"

// gate is a sync.RWMutex whose waits go through a sync.Cond: in a testing/synctest
// bubble these let the clock advance, which waits for a mutex do not, and a sink
// may be slow while the gate is held. It costs two uncontended mutexes more for
// each hand-over, not for each record. Writers go first.
type gate struct {
	mu      sync.Mutex
	free    sync.Cond
	readers int
	waiting int // writers
	writing bool
}

func newGate() *gate {
	g := new(gate)
	g.free.L = &g.mu
	return g
}

// Lock waits until it has the gate alone.
func (g *gate) Lock() {
	g.mu.Lock()
	g.waiting++
	for g.writing || g.readers > 0 {
		g.free.Wait()
	}
	g.waiting--
	g.writing = true
	g.mu.Unlock()
}

// Unlock ends a Lock.
func (g *gate) Unlock() {
	g.mu.Lock()
	g.writing = false
	g.mu.Unlock()
	g.free.Broadcast()
}

// RLock waits until no writer has the gate or waits for it. It must not be nested.
func (g *gate) RLock() {
	g.mu.Lock()
	for g.writing || g.waiting > 0 {
		g.free.Wait()
	}
	g.readers++
	g.mu.Unlock()
}

// RUnlock ends an RLock.
func (g *gate) RUnlock() {
	g.mu.Lock()
	g.readers--
	last := g.readers == 0
	g.mu.Unlock()
	if last {
		g.free.Broadcast()
	}
}
