package check

import "github.com/leat-stream/leat/chaos/internal/workload"

// Bounds are what a worker may take when it has come to rest. 0 is no bound.
type Bounds struct {
	Goroutines int
	// Heap and RSS are in bytes.
	Heap, RSS uint64
}

// CheckBounded compares what a worker has last said of itself with bounds.
func CheckBounded(worker string, last workload.Status, b Bounds) []Violation {
	f := findings{of: Bounded}
	if b.Goroutines > 0 && last.Goroutines > b.Goroutines {
		f.add("worker %s has %d goroutines, more than %d", worker, last.Goroutines, b.Goroutines)
	}
	if b.Heap > 0 && last.Heap > b.Heap {
		f.add("worker %s has a heap of %d bytes, more than %d", worker, last.Heap, b.Heap)
	}
	if b.RSS > 0 && last.RSS > b.RSS {
		f.add("worker %s has %d bytes resident, more than %d", worker, last.RSS, b.RSS)
	}
	return f.all()
}
