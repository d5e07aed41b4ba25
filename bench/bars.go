//go:build unix

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bar is a promise that a report holds against what was measured: PEER:FIGURE:BOUND for the median
// of leat's ratios to a peer, or leat:FIGURE:BOUND for the median of leat's own.
type bar struct {
	Who    string  `json:"who"`
	Figure string  `json:"figure"` // rate, request: at least; cpu, allocs, p99: at most
	Bound  float64 `json:"bound"`
}

func parseBar(text string) (bar, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return bar{}, fmt.Errorf("a bar is WHO:FIGURE:BOUND, not %q", text)
	}
	b := bar{Who: parts[0], Figure: parts[1]}
	if figures := b.figures(); !slices.Contains(figures, b.Figure) {
		return bar{}, fmt.Errorf("a bar for %s is about %s, not %q", b.Who, strings.Join(figures, " or "), b.Figure)
	}
	var err error
	if b.Bound, err = strconv.ParseFloat(parts[2], 64); err != nil || !(b.Bound > 0) {
		return bar{}, fmt.Errorf("the bound of a bar is a positive number, not %q", parts[2])
	}
	return b, nil
}

func (b bar) figures() []string {
	if b.Who == "leat" {
		return []string{"allocs", "p99"}
	}
	return []string{"rate", "request", "cpu"}
}

func (b bar) String() string {
	switch b.Figure {
	case "rate":
		return fmt.Sprintf("leat / %s, records/s ≥ %.2f", b.Who, b.Bound)
	case "request":
		return fmt.Sprintf("leat / %s, records per request ≥ %.2f", b.Who, b.Bound)
	case "p99":
		return fmt.Sprintf("leat, p99 latency in ms ≤ %.2f", b.Bound)
	case "cpu":
		return fmt.Sprintf("leat / %s, CPU per record ≤ %.2f", b.Who, b.Bound)
	default:
		return fmt.Sprintf("leat, allocations per record ≤ %.2f", b.Bound)
	}
}

// outcome is a bar and what was measured.
type outcome struct {
	bar
	Measured float64 `json:"measured"`
	Holds    bool    `json:"holds"`
}

// outcomes are those of all bars. What was not measured does not hold.
func (rep report) outcomes() []outcome {
	var all []outcome
	for _, b := range rep.options.bars {
		o := outcome{bar: b}
		switch b.Figure {
		case "allocs":
			o.Measured = spreadOf(rep.values(b.Who, allocsOf)).Median
		case "p99":
			o.Measured = spreadOf(rep.values(b.Who, p99Of)).Median
		}
		for _, c := range rep.comparisons() {
			if c.Peer == b.Who {
				o.Measured = map[string]spread{"rate": c.Rate, "request": c.Request, "cpu": c.CPU}[b.Figure].Median
			}
		}
		o.Holds = o.Measured > 0 && o.Measured <= b.Bound
		if b.Figure == "rate" || b.Figure == "request" {
			o.Holds = o.Measured >= b.Bound
		}
		all = append(all, o)
	}
	return all
}

// barsTable is that part of the report; scripts/bench-all takes its rows from it.
func (rep report) barsTable() string {
	if len(rep.options.bars) == 0 {
		return ""
	}
	var s strings.Builder
	s.WriteString("\n## Bars\n\n| bar | measured | holds |\n|---|--:|---|\n")
	for _, o := range rep.outcomes() {
		holds := "yes"
		if !o.Holds {
			holds = "NO"
		}
		fmt.Fprintf(&s, "| %s | %.3f | %s |\n", o.bar, o.Measured, holds)
	}
	return s.String()
}
