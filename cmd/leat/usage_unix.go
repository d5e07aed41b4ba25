//go:build unix

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// resources is what the process has used so far.
type resources struct {
	cpu     time.Duration // user and system
	peakMiB float64       // largest resident set
}

func processUsage() resources {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return resources{}
	}
	peak := float64(ru.Maxrss)
	unit := 1024.0 // Linux counts KiB
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		unit = 1
	}
	if kib, ok := highWater(); ok {
		peak = kib
	}
	return resources{
		cpu:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		peakMiB: peak * unit / (1 << 20),
	}
}

// highWater returns Linux's own figure for this program in KiB: what getrusage
// says there includes the process that started us, as it was at the fork.
func highWater() (kib float64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(status), "\nVmHWM:")
	if !ok {
		return 0, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	if _, err := fmt.Sscanf(line, "%f kB", &kib); err != nil {
		return 0, false
	}
	return kib, true
}
