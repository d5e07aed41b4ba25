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
	Records      int64   `json:"records"`                     // committed, or written and acknowledged
	Seconds      float64 `json:"seconds"`                     // first client call to last commit or acknowledgement
	CPUPerRecord float64 `json:"cpu_us_per_record"`           // user and system time of the whole process, in µs
	Allocs       float64 `json:"allocs_per_record,omitempty"` // on the heap, 0 where they are not counted
	PeakMiB      float64 `json:"peak_rss_mib"`                // largest resident set

	// What leat perf produce says besides.
	P99     float64 `json:"latency_ms_p99,omitempty"`      // from a record's send to its acknowledgement
	Request float64 `json:"records_per_request,omitempty"` // on average
}

// Report writes the line of a process whose first client call was at began, and whose last commit
// or acknowledgement was at last. It is to be called at the end, since CPU time and allocations are
// those of the whole process up to now.
func Report(w io.Writer, records int64, began, last time.Time) error {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("read own resource usage: %w", err)
	}
	seconds := 0.0
	if records > 0 {
		seconds = last.Sub(began).Seconds()
	}
	unit := 1024.0 // Linux counts KiB, macOS bytes
	if runtime.GOOS == "darwin" {
		unit = 1
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	per := float64(max(1, records))
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	_, err := fmt.Fprintf(w, "records=%d seconds=%.3f cpu_us_per_record=%.3f allocs_per_record=%.3f peak_rss_mib=%.1f\n",
		records, seconds, float64(cpu.Microseconds())/per, float64(memory.Mallocs)/per, float64(usage.Maxrss)*unit/(1<<20))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Parse reads the result from a worker's output: its last line. Only allocations may be missing,
// since not every worker can count them.
func Parse(output string) (Result, error) {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := lines[len(lines)-1]
	var r Result
	fields := map[string]*float64{"seconds": &r.Seconds, "cpu_us_per_record": &r.CPUPerRecord, "peak_rss_mib": &r.PeakMiB, "allocs_per_record": &r.Allocs,
		"p99": &r.P99, "records_per_request": &r.Request}
	required := []string{"records", "seconds", "cpu_us_per_record", "peak_rss_mib"}
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
	for _, name := range required {
		if !seen[name] {
			return Result{}, fmt.Errorf("a worker's last line is not a result: %q", last)
		}
	}
	return r, nil
}
