//go:build unix

package console

import (
	"syscall"
	"testing"
	"time"
)

// A refresh is to cost at most 10 ms of CPU; the benchmark says what it does, about one.
// The bound has room for the race detector, and for what else the process does.
func TestCostOfARefresh(t *testing.T) {
	const refreshes, bound = 40, 30 * time.Millisecond
	live := large(t)
	before := cpuTime(t)
	for range refreshes {
		refresh(t, live)
	}
	if each := (cpuTime(t) - before) / refreshes; each > bound {
		t.Errorf("a refresh costs %v of CPU", each)
	} else {
		t.Logf("a refresh costs %v of CPU", each)
	}
}

// cpuTime is what the process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
