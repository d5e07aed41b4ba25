package pipeline

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Between two writers come all readers that have waited for the first.
func TestGateLetsReadersInBetweenWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		var order []string
		var work sync.WaitGroup
		g.Lock()
		work.Go(func() {
			g.Lock()
			order = append(order, "writer")
			g.Unlock()
		})
		synctest.Wait() // the writer came first
		for range 20 {
			work.Go(func() {
				g.RLock()
				g.mu.Lock()
				order = append(order, "reader")
				g.mu.Unlock()
				g.RUnlock()
			})
		}
		synctest.Wait()
		g.Unlock()
		work.Wait()
		if len(order) != 21 || order[20] != "writer" {
			t.Errorf("%q", order)
		}
	})
}

// A writer goes before readers that come after it.
func TestGateLetsAWriterIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					g.RLock()
					time.Sleep(2 * time.Millisecond)
					g.RUnlock()
				}
			})
			time.Sleep(time.Millisecond) // there is always one
		}
		began := time.Now()
		turns := 0
		for turns < 10 {
			g.Lock()
			turns++
			g.Unlock()
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("ten turns of a writer took %v", took)
		}
		close(stop)
		readers.Wait()
	})
}

// Of writers that wait for the same thing one has the gate, and the others go on without.
func TestGateSparesNeedlessWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		const n = 20
		done, had, ready := 0, 0, 0
		var work sync.WaitGroup
		g.Lock()
		for range n {
			work.Go(func() {
				if g.LockUnless(func() bool { return done > 0 }) {
					done++
					had++
					g.Unlock()
				}
			})
			work.Go(func() {
				g.RLockAfter(func() bool { return ready > 0 }, func() { ready++ })
				time.Sleep(time.Second) // all of them at once
				g.RUnlock()
			})
		}
		synctest.Wait()
		began := time.Now()
		g.Unlock()
		work.Wait()
		if had != 1 || ready != 1 {
			t.Errorf("%d had the gate, and %d prepared", had, ready)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the readers took %v", took)
		}
		if g.readers != 0 || g.writing || len(g.writers) > 0 {
			t.Errorf("%d readers are in, a writer %v, %d wait", g.readers, g.writing, len(g.writers))
		}
	})
}
