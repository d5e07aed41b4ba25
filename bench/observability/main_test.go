//go:build unix

package main

import (
	"strings"
	"testing"
)

// All of it, on few records: every chain with every subject, and the bars.
func TestReport(t *testing.T) {
	var out strings.Builder
	holds, err := run(t.Context(), []string{"-pairs", "1", "-n", "3000", "-bar", "metrics:1000", "-bar", "batch-spans:0.000001"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if holds {
		t.Error("a bar that nothing can hold holds")
	}
	for _, line := range []string{
		"| orders | metrics | ", "| orders | sampled-out | ", "| orders | batch-spans | ", "| trivial | metrics | ", "| trivial | sampled-out | ", "| trivial | batch-spans | ",
		"| ≤ 1000.000 | yes |", "| ≤ 0.000 | NO |",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the report lacks %q:\n%s", line, out.String())
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, args := range [][]string{{"-pairs", "0"}, {"-chains", "none"}, {"-bar", "metrics"}, {"-bar", "none:1"}, {"more"}} {
		if _, err := run(t.Context(), args, &strings.Builder{}); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	for q, want := range map[float64]float64{0: 1, .5: 2.5, 1: 4} {
		if got := quantile([]float64{4, 1, 3, 2}, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}
