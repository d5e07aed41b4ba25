package check

import "github.com/leat-stream/leat/chaos/internal/workload"

// CheckSpared sees that a worker, in a number of processes, has had no transaction
// aborted but those that were made to fail, and no producer given up.
func CheckSpared(worker string, total workload.Status, processes int64) []Violation {
	f := findings{of: Spared}
	if n := total.Aborts - total.Injected; n > 0 {
		f.add("worker %s has aborted %d transactions", worker, n)
	}
	if n := total.Recoveries - processes; n > 0 {
		f.add("worker %s has given up its producer %d times", worker, n)
	}
	return f.all()
}
