//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/leat-stream/leat/bench/internal/meter"
)

// Two pairs, and one before them that must not count: leat at 100 and 120 records/s against 100,
// with 2 and 3 µs against 2.
func someReport(bars ...bar) report {
	of := func(pair int, worker string, rate int64, cpu, allocs float64) run {
		return run{Pair: pair, Worker: worker, Result: meter.Result{
			Records: rate, Seconds: 1, CPUPerRecord: cpu, Allocs: allocs, Request: float64(2 * rate), P99: 10 * cpu,
		}}
	}
	return report{
		options: options{job: "produce", bars: bars, workers: []worker{{name: "leat"}, {name: "franz"}}},
		runs: []run{
			of(0, "leat", 900, 9, 9), of(0, "franz", 1, 1, 1),
			of(1, "leat", 100, 2, 1), of(1, "franz", 100, 2, 3),
			of(2, "leat", 120, 3, 1.5), of(2, "franz", 100, 2, 3),
		},
	}
}

func TestBars(t *testing.T) {
	for text, want := range map[string]outcome{
		"franz:rate:1.1":   {Measured: 1.1, Holds: true},
		"franz:rate:1.11":  {Measured: 1.1},
		"franz:cpu:1.25":   {Measured: 1.25, Holds: true},
		"franz:cpu:1.2":    {Measured: 1.25},
		"leat:allocs:1.25": {Measured: 1.25, Holds: true},
		"leat:allocs:1.2":  {Measured: 1.25},
		"leat:p99:25":      {Measured: 25, Holds: true},
		"leat:p99:24":      {Measured: 25},

		"franz:request:1.1": {Measured: 1.1, Holds: true},
		"franz:request:1.2": {Measured: 1.1},
		"java:cpu:5":        {}, // not measured
		"java:rate:0.1":     {},
	} {
		b, err := parseBar(text)
		if err != nil {
			t.Fatal(err)
		}
		rep := someReport(b)
		want.bar = b
		got := rep.outcomes()[0]
		if off := got.Measured - want.Measured; off > 1e-9 || off < -1e-9 || got.Holds != want.Holds || got.bar != b {
			t.Errorf("%s: %v, %t instead of %v, %t", text, got.Measured, got.Holds, want.Measured, want.Holds)
		}
		verdict := map[bool]string{true: "| yes |", false: "| NO |"}[want.Holds]
		if table := rep.barsTable(); !strings.Contains(table, "| "+b.String()+" | ") || !strings.Contains(table, verdict) {
			t.Errorf("%s: the table is %s", text, table)
		}
	}
}

func TestParseBarRefusesNonsense(t *testing.T) {
	for _, text := range []string{"", "franz:rate", "franz:rate:", "franz:rate:0", "franz:rate:NaN", "franz:allocs:1", "leat:rate:1"} {
		if b, err := parseBar(text); err == nil {
			t.Errorf("%q is %v", text, b)
		}
	}
}
