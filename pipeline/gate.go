package pipeline

import (
	"slices"
	"sync"
)

// gate is a sync.RWMutex whose waits are for channels: in a testing/synctest bubble these
// let the clock advance, which waits for a mutex do not, and a sink may be slow while the
// gate is held. It costs two uncontended mutexes more for each hand-over, not for each
// record.
//
// A writer that waits goes before readers that come after it. When a writer has ended,
// all that have waited for it come next, readers as well as writers that do not need
// the gate any more: a commit is not kept waiting by hand-overs, and the next one is of
// all claims that were kept waiting by it, however many of them want to commit for
// themselves.
//
// Who ends a turn gives the gate to those who come next, so that each of a thousand claims
// is woken once for it, and none to find out that it is another's turn.
type gate struct {
	mu      sync.Mutex
	readers int // that are in
	writing bool
	writers []*writer // that wait, the first comes next

	queued int           // readers that wait for a writer's turn to end
	ended  chan struct{} // closed for them, nil if there are none
}

// writer is one that waits.
type writer struct {
	needless func() bool
	reads    bool      // if needless, it goes on as a reader
	turn     chan bool // true: the gate is its own, false: it was needless
}

func newGate() *gate { return new(gate) }

// Lock waits until it has the gate alone.
func (g *gate) Lock() { g.LockUnless(func() bool { return false }) }

// LockUnless is Lock that gives up when it is not needed any more, since another writer
// has done what was to be done. It reports whether it has the gate. needless is called
// while no writer has it, and must not call the gate.
func (g *gate) LockUnless(needless func() bool) bool { return g.enter(&writer{needless: needless}) }

// RLockAfter is RLock once something is ready. If it is not, one of those who wait for it
// prepares it with the gate alone, and all of them go on together: nobody comes in
// between who would undo it. ready must not call the gate.
func (g *gate) RLockAfter(ready func() bool, prepare func()) {
	g.RLock()
	if ready() {
		return
	}
	g.RUnlock()
	if g.enter(&writer{needless: ready, reads: true}) {
		prepare()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.readers++
		g.end()
	}
}

// enter waits for a writer's turn, and reports whether it has come.
func (g *gate) enter(w *writer) bool {
	g.mu.Lock()
	if !g.writing && g.readers == 0 && len(g.writers) == 0 {
		g.writing = true
		g.mu.Unlock()
		return true
	}
	w.turn = make(chan bool, 1)
	g.writers = append(g.writers, w)
	g.mu.Unlock()
	return <-w.turn
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
	g.writers = slices.DeleteFunc(g.writers, func(w *writer) bool {
		if !w.needless() {
			return false
		}
		if w.reads {
			g.readers++
		}
		w.turn <- false
		return true
	})
	if g.queued > 0 {
		g.readers, g.queued = g.readers+g.queued, 0
		close(g.ended)
		g.ended = nil
	}
	g.next()
}

// next lets the first writer in, if nobody is in.
func (g *gate) next() {
	if g.writing || g.readers > 0 || len(g.writers) == 0 {
		return
	}
	g.writing = true
	g.writers[0].turn <- true
	g.writers = slices.Delete(g.writers, 0, 1)
}

// RLock waits while a writer has the gate, or for one that waits. It must not be
// nested.
func (g *gate) RLock() {
	g.mu.Lock()
	if !g.writing && len(g.writers) == 0 {
		g.readers++
		g.mu.Unlock()
		return
	}
	g.queued++
	if g.ended == nil {
		g.ended = make(chan struct{})
	}
	ended := g.ended
	g.mu.Unlock()
	<-ended
}

// RUnlock ends an RLock.
func (g *gate) RUnlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readers--
	g.next()
}
