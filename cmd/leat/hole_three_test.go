//go:build three && unix

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// awaitLevel waits until a process has taken no more memory for a while: it has
// taken in what it takes in.
func awaitLevel(t *testing.T, p *checktest.Process) {
	t.Helper()
	const quiet = 3 * time.Second
	top, since := 0.0, time.Now()
	checktest.Await(t, "the end of its growth", 2*time.Minute, func() bool {
		if mib := p.Resident(); mib > top+1 {
			top, since = mib, time.Now()
		}
		return time.Since(since) > quiet
	})
}

var peak = regexp.MustCompile(`peak_rss_mib=(\d+\.\d)`)

func peakOf(t *testing.T, p *checktest.Process) float64 {
	t.Helper()
	m := peak.FindStringSubmatch(p.Stdout())
	if m == nil {
		t.Fatalf("it wrote %q", p.Stdout())
	}
	mib, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return mib
}

// allNodes are the brokers.
var allNodes = []int32{1, 2, 3}

// No broker answers any more: a producer takes its buffer and little beyond it. Go's
// collector lets garbage, here the load's own records, grow as large as what is in
// use; GOMEMLIMIT keeps it from that, so that what is in use can be seen of a large
// buffer, too.
func TestMemoryOfAProducerInAHole(t *testing.T) {
	for _, x := range []struct{ buffer, size int }{{32, 100}, {32, 200}, {32, 1000}, {128, 100}, {128, 200}, {128, 1000}} {
		t.Run(fmt.Sprintf("%d MiB, records of %d bytes", x.buffer, x.size), func(t *testing.T) {
			three := checktest.OwnBrokers(t)
			b := realBench(t)
			const slack = 64
			limit := "GOMEMLIMIT=off"
			if x.buffer > slack {
				limit = fmt.Sprintf("GOMEMLIMIT=%dMiB", x.buffer+slack*3/4)
			}
			p := checktest.Start(t, "perf", "env", limit, leat, "perf", "produce", "--brokers", b.brokers, "--topic", b.out,
				"--records", "1000000000", "--size", strconv.Itoa(x.size), "--buffer-memory", strconv.Itoa(x.buffer<<20))
			b.Await("some records", func() bool { return b.Ends(b.out, false)[0] > 1000 })
			three.Stop(allNodes...)
			awaitLevel(t, p)
			code, took := p.Terminate(2 * checktest.StopWithin)
			three.Wake(allNodes...)
			if took > checktest.StopWithin {
				t.Errorf("it took %v to stop, with exit code %d", took, code)
			}
			mib := peakOf(t, p)
			b.row("no broker answers: leat perf produce", "", took, "", fmt.Sprintf("%d MiB buffer, records of %d bytes: %.1f MiB", x.buffer, x.size, mib))
			if mib > float64(x.buffer+slack) {
				t.Errorf("it took %.1f MiB, want at most %d", mib, x.buffer+slack)
			}
		})
	}
}

// No broker answers any more: leat copy takes no more memory than ever, stops in
// time, and what it has left is finished by the next one.
func TestCopyInAHole(t *testing.T) {
	three := checktest.OwnBrokers(t)
	b := realBench(t)
	b.Prefill(b.in, b.records)
	p := b.copier("first")
	b.Await("some progress", func() bool {
		sum := int64(0)
		for _, at := range b.Committed(b.group, b.in) {
			sum += at
		}
		return sum > 0 && sum < int64(b.records)
	})
	three.Stop(allNodes...)
	awaitLevel(t, p)
	code, took := p.Terminate(2 * checktest.StopWithin)
	three.Wake(allNodes...)
	if took > checktest.StopWithin {
		t.Errorf("it took %v to stop", took)
	}
	mib := peakOf(t, p)
	if mib >= maxMiB {
		t.Errorf("it took %.1f MiB, want less than %d", mib, maxMiB)
	}
	b.row("no broker answers: leat copy", "", took, "", fmt.Sprintf("exit code %d, %.1f MiB", code, mib))
	began := time.Now()
	second := b.copier("second", "--until-end")
	if code := second.Wait(2 * time.Minute); code != 0 {
		t.Fatalf("the second worker ended with exit code %d", code)
	}
	b.verdict("no broker answers, then another worker", "", time.Since(began), (*checktest.Report).Exact)
}
