//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// report is what is printed and stored of one invocation.
type report struct {
	began    time.Time
	machine  machine
	options  options
	commands []string
	runs     []run
}

// spread is the smallest, middle and largest of several values.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{sorted[0], median, sorted[len(sorted)-1]}
}

// measured is whether any run counts.
func (rep report) measured() bool {
	return slices.ContainsFunc(rep.runs, func(r run) bool { return r.Pair > 0 })
}

// values is one figure of each counted run of a worker, in the order of the pairs.
func (rep report) values(worker string, figure func(run) float64) []float64 {
	var all []float64
	for _, r := range rep.runs {
		if r.Pair > 0 && r.Worker == worker {
			all = append(all, figure(r))
		}
	}
	return all
}

// comparison is leat against one peer: the spread of the ratios within each pair. Both runs of a
// pair met the machine in about the same state, so their ratio is steadier than either.
type comparison struct {
	Peer  string `json:"peer"`
	Pairs int    `json:"pairs"`
	Rate  spread `json:"records_per_s"`
	CPU   spread `json:"cpu_per_record"`
	// Request is of records per request, all zero unless both say them.
	Request spread `json:"records_per_request"`
}

func (rep report) comparisons() []comparison {
	var all []comparison
	for _, w := range rep.options.workers[1:] {
		ratios := func(figure func(run) float64) (of []float64) {
			leat, peer := rep.values(rep.options.workers[0].name, figure), rep.values(w.name, figure)
			for i := range min(len(leat), len(peer)) {
				if peer[i] > 0 {
					of = append(of, leat[i]/peer[i])
				}
			}
			return of
		}
		rates := ratios(run.rate)
		if len(rates) == 0 {
			continue
		}
		all = append(all, comparison{w.name, len(rates), spreadOf(rates), spreadOf(ratios(cpuOf)), spreadOf(ratios(requestOf))})
	}
	return all
}

func cpuOf(r run) float64    { return r.CPUPerRecord }
func peakOf(r run) float64   { return r.PeakMiB }
func allocsOf(r run) float64 { return r.Allocs }
func brokerOf(r run) float64 { return r.BrokerCPU }

func requestOf(r run) float64 { return r.Request }
func p99Of(r run) float64     { return r.P99 }

// markdown is the report as people read it.
func (rep report) markdown() string {
	var s strings.Builder
	m, o := rep.machine, rep.options
	fmt.Fprintf(&s, "# %s\n\n", jobs[o.job].title)
	fmt.Fprintf(&s, "- %s\n", rep.began.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&s, "- %s, %d cores, %.1f GiB, %s\n", orUnknown(m.CPU), m.Cores, m.MemoryGiB, m.System)
	fmt.Fprintf(&s, "- Apache Kafka %s, %d broker(s); Go %s, GOGC unset\n", m.Kafka, m.Brokers, strings.TrimPrefix(m.Go, "go"))
	fmt.Fprintf(&s, "- leat at %s on sarama %s", orUnknown(m.Commit), orUnknown(m.LeatSarama))
	for _, peer := range []struct{ on, version string }{{"sarama", m.PeerSarama}, {"franz-go", m.PeerFranz}, {"Kafka's Java libraries", m.PeerJava}} {
		if peer.version != "" {
			fmt.Fprintf(&s, "; peer on %s %s", peer.on, peer.version)
		}
	}
	fmt.Fprintf(&s, "\n- %d records a run, %d pair(s) after %d that do not count\n\n", o.n, o.pairs, o.warmup)
	for _, c := range rep.commands {
		fmt.Fprintf(&s, "    %s\n", c)
	}

	s.WriteString("\n## Runs\n\n| pair | worker | records/s | CPU µs/record | allocs/record | peak RSS MiB | broker CPU µs/record | load before, cores | others' load, cores | exact |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, r := range rep.runs {
		if r.Pair == 0 {
			continue
		}
		exact, before := "yes", orDash(r.LoadBefore)
		if !r.Exact {
			exact = fmt.Sprintf("NO: it says %d; %s", r.Records, r.Verdict)
		}
		if !r.Quiet && r.LoadBefore >= 0 {
			before += " (not quiet)"
		}
		fmt.Fprintf(&s, "| %d | %s | %.0f | %.3f | %s | %.1f | %s | %s | %s | %s |\n", r.Pair, r.Worker, r.rate(),
			r.CPUPerRecord, orNone(r.Allocs), r.PeakMiB, orDash(r.BrokerCPU), before, orDash(r.OtherLoad), exact)
	}

	s.WriteString("\n## Medians\n\n| worker | records/s | CPU µs/record | allocs/record | peak RSS MiB | broker CPU µs/record |\n|---|--:|--:|--:|--:|--:|\n")
	for _, w := range o.workers {
		middle := func(figure func(run) float64) float64 { return spreadOf(rep.values(w.name, figure)).Median }
		if len(rep.values(w.name, run.rate)) == 0 {
			continue // ended before its turn came
		}
		fmt.Fprintf(&s, "| %s | %.0f | %.3f | %s | %.1f | %s |\n", w.name, middle(run.rate), middle(cpuOf),
			orNone(middle(allocsOf)), middle(peakOf), orDash(middle(brokerOf)))
	}

	if jobs[o.job].lingers() {
		s.WriteString("\n## Requests, medians\n\n| worker | records per request | p99 latency, ms |\n|---|--:|--:|\n")
		for _, w := range o.workers {
			fmt.Fprintf(&s, "| %s | %.1f | %.1f |\n", w.name, spreadOf(rep.values(w.name, requestOf)).Median, spreadOf(rep.values(w.name, p99Of)).Median)
		}
	}

	s.WriteString("\n## Ratios within each pair\n\n| | min | median | max |\n|---|--:|--:|--:|\n")
	for _, c := range rep.comparisons() {
		fmt.Fprintf(&s, "| leat / %s, records/s | %.3f | %.3f | %.3f |\n", c.Peer, c.Rate.Min, c.Rate.Median, c.Rate.Max)
		fmt.Fprintf(&s, "| leat / %s, CPU per record | %.3f | %.3f | %.3f |\n", c.Peer, c.CPU.Min, c.CPU.Median, c.CPU.Max)
		if jobs[o.job].lingers() {
			fmt.Fprintf(&s, "| leat / %s, records per request | %.3f | %.3f | %.3f |\n", c.Peer, c.Request.Min, c.Request.Median, c.Request.Max)
		}
	}
	s.WriteString(rep.barsTable())
	return s.String()
}

func orUnknown(text string) string {
	if text == "" {
		return "(unknown)"
	}
	return text
}

// orDash is a figure that is negative where it is not known.
func orDash(figure float64) string {
	if figure < 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", figure)
}

// orNone is a figure that is 0 where nobody counted it.
func orNone(figure float64) string {
	if figure == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", figure)
}

// appendTo adds the report to a file: a line for the machine, one per run, peer and bar. The time
// in each tells invocations apart.
func (rep report) appendTo(file string) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	defer func() {
		if closed := f.Close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("store report: %w", closed))
		}
	}()
	type head struct {
		Kind  string    `json:"kind"`
		Began time.Time `json:"began"`
	}
	lines := []any{struct {
		head
		machine
		Job      string   `json:"job"`
		N        int64    `json:"n"`
		Pairs    int      `json:"pairs"`
		Commands []string `json:"commands"`
	}{head{"machine", rep.began}, rep.machine, rep.options.job, rep.options.n, rep.options.pairs, rep.commands}}
	for _, r := range rep.runs {
		lines = append(lines, struct {
			head
			run
		}{head{"run", rep.began}, r})
	}
	for _, c := range rep.comparisons() {
		lines = append(lines, struct {
			head
			comparison
		}{head{"ratio", rep.began}, c})
	}
	for _, o := range rep.outcomes() {
		lines = append(lines, struct {
			head
			outcome
		}{head{"bar", rep.began}, o})
	}
	encoder := json.NewEncoder(f)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("store report: %w", err)
		}
	}
	return nil
}
