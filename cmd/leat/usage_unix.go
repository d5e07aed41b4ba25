//go:build unix

package main

import (
	"runtime"
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
	unit := 1024.0 // Linux counts KiB
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		unit = 1
	}
	return resources{
		cpu:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		peakMiB: float64(ru.Maxrss) * unit / (1 << 20),
	}
}
