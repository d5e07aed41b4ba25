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
