package pipeline

import "sync"

// gate is a sync.RWMutex whose waits go through a sync.Cond: in a testing/synctest
// bubble these let the clock advance, which waits for a mutex do not, and a sink
// may be slow while the gate is held. It costs two uncontended mutexes more for
// each hand-over, not for each record.
//
// A writer that waits goes before readers that come after it, and after a writer come
// all readers that have waited for it: a commit is not kept waiting by hand-overs, and
// the next one is of all claims that were kept waiting by it, however many of them want
// to commit for themselves.
type gate struct {
	mu      sync.Mutex
	free    sync.Cond
	readers int
	waiting int // writers
	writing bool

	turn   int // of writers that have ended
	queued int // readers that wait for the next turn's end
	due    int // readers that have waited for the last one's, and come next
}

func newGate() *gate {
	g := new(gate)
	g.free.L = &g.mu
	return g
}

// Lock waits until it has the gate alone.
func (g *gate) Lock() { g.LockUnless(func() bool { return false }) }

// LockUnless is Lock that gives up when it is not needed any more, since another writer
// has done what was to be done. It reports whether it has the gate. needless is called
// while no writer has it.
func (g *gate) LockUnless(needless func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	for g.writing || g.readers > 0 || g.due > 0 {
		g.free.Wait()
		if !g.writing && needless() {
			g.waiting--
			g.free.Broadcast() // readers may wait for it
			return false
		}
	}
	g.waiting--
	g.writing = true
	return true
}

// Unlock ends a Lock.
func (g *gate) Unlock() {
	g.mu.Lock()
	g.writing = false
	g.turn++
	g.due, g.queued = g.due+g.queued, 0
	g.mu.Unlock()
	g.free.Broadcast()
}

// RLock waits while a writer has the gate, or for one that waits. It must not be
// nested.
func (g *gate) RLock() {
	g.mu.Lock()
	if g.writing || g.waiting > 0 {
		g.queued++
		turn := g.turn
		for g.turn == turn && (g.writing || g.waiting > 0) {
			g.free.Wait()
		}
		if g.turn == turn { // the writers have given up
			g.queued--
		} else {
			g.due--
		}
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
