//go:build unix

package soak

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// Report is what came of a soak, as Markdown.
func Report(cfg Config, results []scenario.Result) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	verdict := "no violation"
	if slices.ContainsFunc(results, func(r scenario.Result) bool { return r.Err != nil }) {
		verdict = "FAILED"
	}
	line("# Soak, seed %d: %s", cfg.Seed, verdict)
	line("")
	line("%s, %d CPUs, %s%s, transaction version %d. Again, with the same schedule: `scripts/chaos soak -seed %d -minutes %g`.",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), commit(), cfg.Cluster.TransactionVersion(), cfg.Seed, cfg.Time.Minutes())
	line("")
	line("| part | minutes | faults | inputs | outputs and dead letters | verdict |")
	line("|---|---|---|---|---|---|")
	for _, r := range results {
		inputs, outputs, verdict := "", "", "ok"
		if r.Report != nil {
			inputs, outputs = fmt.Sprint(r.Report.Inputs), fmt.Sprint(r.Report.Outputs)
		}
		if r.Err != nil {
			verdict = "FAILED"
		}
		line("| %s | %.1f | %d | %s | %s | %s |", r.Scenario.Name, r.Took.Minutes(), len(r.Faults), inputs, outputs, verdict)
	}
	for _, r := range results {
		line("\n## %s\n", r.Scenario.Name)
		line("%s.", capital(r.Scenario.About))
		if len(r.Recoveries) > 0 {
			line("")
			recoveries(line, r.Recoveries)
		}
		if r.Report != nil {
			line("\n```\n%s```", r.Report)
		}
		if r.Err != nil {
			line("\n```\n%v\n```", r.Err)
		}
	}
	return b.String()
}

// recoveries has a row for each kind of fault.
func recoveries(line func(string, ...any), all []check.Recovery) {
	line("Seconds from the healing of a fault until every input partition was committed further, or to its end; `overtaken` by another fault before that:")
	line("")
	line("| fault | what | times | overtaken | median | 90 %% | 99 %% | longest |")
	line("|---|---|---|---|---|---|---|---|")
	for _, p := range check.Summarize(all) {
		name, about := "all", ""
		if p.Kind != "" {
			name, about = p.Kind, kindOf(p.Kind).about
		}
		took := "– | – | – | –" // none that is known
		if p.Recovered > 0 {
			took = fmt.Sprintf("%.1f | %.1f | %.1f | %.1f", p.Median.Seconds(), p.P90.Seconds(), p.P99.Seconds(), p.Max.Seconds())
		}
		line("| %s | %s | %d | %d | %s |", name, about, p.Recovered+p.Overtaken+p.Unseen, p.Overtaken, took)
	}
}

// commit says of which commit the program is, if it knows.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = ", commit " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return revision + changed
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
