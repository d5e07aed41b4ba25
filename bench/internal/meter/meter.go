//go:build unix

// Package meter measures a worker process as leat copy measures itself, and reports it in the
// same line, so that no worker is measured by another rule than the others.
package meter

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is what a worker says about itself in the last line of its output.
type Result struct {
	Records      int64   `json:"records"`           // input records committed
	Seconds      float64 `json:"seconds"`           // first client call to last commit
	CPUPerRecord float64 `json:"cpu_us_per_record"` // user and system time of the whole process, in µs
	PeakMiB      float64 `json:"peak_rss_mib"`      // largest resident set
}

// Report writes the line of a process that committed records between began and lastCommit. It is
// to be called last, since the CPU time is that of the whole process up to now.
func Report(w io.Writer, records int64, began, lastCommit time.Time) error {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("read own resource usage: %w", err)
	}
	seconds := 0.0
	if records > 0 {
		seconds = lastCommit.Sub(began).Seconds()
	}
	unit := 1024.0 // Linux counts KiB, macOS bytes
	if runtime.GOOS == "darwin" {
		unit = 1
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	_, err := fmt.Fprintf(w, "records=%d seconds=%.3f cpu_us_per_record=%.3f peak_rss_mib=%.1f\n",
		records, seconds, float64(cpu.Microseconds())/float64(max(1, records)), float64(usage.Maxrss)*unit/(1<<20))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Parse reads the result from a worker's output: its last line, every field of it.
func Parse(output string) (Result, error) {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := lines[len(lines)-1]
	var r Result
	fields := map[string]*float64{"seconds": &r.Seconds, "cpu_us_per_record": &r.CPUPerRecord, "peak_rss_mib": &r.PeakMiB}
	seen := map[string]bool{}
	for _, field := range strings.Fields(last) {
		name, text, _ := strings.Cut(field, "=")
		var err error
		if name == "records" {
			r.Records, err = strconv.ParseInt(text, 10, 64)
		} else if to := fields[name]; to != nil {
			*to, err = strconv.ParseFloat(text, 64)
		} else {
			continue // a newer worker may say more
		}
		if err != nil {
			return Result{}, fmt.Errorf("field %s in a worker's last line %q: %w", name, last, err)
		}
		seen[name] = true
	}
	if len(seen) != len(fields)+1 {
		return Result{}, fmt.Errorf("a worker's last line is not a result: %q", last)
	}
	return r, nil
}
