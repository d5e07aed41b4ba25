package pipeline

import "sync"

// gate is a sync.RWMutex whose waits go through a sync.Cond: in a testing/synctest
// bubble these let the clock advance, which waits for a mutex do not, and a sink
// may be slow while the gate is held. It costs two uncontended mutexes more for
// each hand-over, not for each record.
//
// A writer that waits goes before readers that come after it. When a writer has ended,
// all that have waited for it come next, readers as well as writers that may not need
// the gate any more: a commit is not kept waiting by hand-overs, and the next one is of
// all claims that were kept waiting by it, however many of them want to commit for
// themselves.
type gate struct {
	mu      sync.Mutex
	free    sync.Cond
	readers int
	writing bool

	turn    int // of writers that have ended
	waiting int // writers
	queued  int // readers that wait for the next turn's end
	due     int // of both, those that have not come since the last turn's end
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
	return g.wait(needless)
}

// RLockAfter is RLock once something is ready. If it is not, one of those who wait for it
// prepares it with the gate alone, and all of them go on together: nobody comes in
// between who would undo it.
func (g *gate) RLockAfter(ready func() bool, prepare func()) {
	g.RLock()
	if ready() {
		return
	}
	g.RUnlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wait(ready) {
		g.mu.Unlock()
		prepare()
		g.mu.Lock()
		g.end()
	}
	g.readers++
}

// wait is LockUnless under mu.
func (g *gate) wait(needless func() bool) bool {
	g.waiting++
	defer func() { g.waiting-- }()
	for turn := g.turn; ; g.free.Wait() {
		if g.turn != turn {
			turn = g.turn
			g.due--
			g.free.Broadcast()
			if needless() {
				return false
			}
		}
		if !g.writing && g.readers == 0 && g.due == 0 {
			g.writing = true
			return true
		}
	}
}

// Unlock ends a Lock.
func (g *gate) Unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end()
}

// end is Unlock under mu.
func (g *gate) end() {
	g.writing = false
	g.turn++
	g.due, g.queued = g.queued+g.waiting, 0
	g.free.Broadcast()
}

// RLock waits while a writer has the gate, or for one that waits. It must not be
// nested.
func (g *gate) RLock() {
	g.mu.Lock()
	defer g.mu.Unlock()
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
			g.free.Broadcast()
		}
	}
	g.readers++
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
