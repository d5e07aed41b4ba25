//go:build unix

// Command observability measures what metrics and traces cost a pipeline: the processor
// time of the whole process for each record, with and without, in memory (pipelinetest),
// where nothing else hides it. The two take turns in one process; what counts is the median
// of the ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	holds, err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(2)
	}
	if !holds {
		os.Exit(1)
	}
}

// bars are the largest ratios that Leat promises.
type bars map[string]float64

func (b bars) String() string {
	var all []string
	for what, bound := range b {
		all = append(all, fmt.Sprintf("%s:%g", what, bound))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (b bars) Set(s string) error {
	what, bound, _ := strings.Cut(s, ":")
	n, err := strconv.ParseFloat(bound, 64)
	if err != nil || !slices.ContainsFunc(subjects, func(x subject) bool { return x.name == what }) {
		return errors.New("want WHAT:RATIO, as in metrics:1.03")
	}
	b[what] = n
	return nil
}

// run measures, prints a report, and says whether all bars hold.
func run(ctx context.Context, args []string, out io.Writer) (holds bool, err error) {
	flags := flag.NewFlagSet("observability", flag.ContinueOnError)
	pairs := flags.Int("pairs", 20, "measured pairs")
	n := flags.Int("n", 400_000, "records of a run")
	chains := flags.String("chains", "orders,trivial", "the pipelines")
	what := flags.String("what", "", "of "+names()+": what is to be measured; default all")
	bounds := bars{"metrics": 1.03, "sampled-out": 1.10, "batch-spans": 1.15}
	flags.Var(bounds, "bar", "largest ratio, as in metrics:1.03; may be repeated")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if *pairs < 1 || *n < 1 || flags.NArg() > 0 {
		return false, errors.New("-pairs and -n must be positive, and there are no arguments")
	}
	fmt.Fprintf(out, "%d pairs of %d records, %s, GOMAXPROCS %d, load %s\n\n", *pairs, *n, runtime.Version(), runtime.GOMAXPROCS(0), load())
	fmt.Fprint(out, "| chain | with | CPU µs/record without | with | ratio, median | quartiles | allocations/record more | bar | holds |\n|---|---|--:|--:|--:|---|--:|--:|---|\n")
	holds = true
	for name := range strings.SplitSeq(*chains, ",") {
		c, err := chainOf(ctx, name)
		if err != nil {
			return false, err
		}
		for _, s := range subjects {
			if *what != "" && !slices.Contains(strings.Split(*what, ","), s.name) {
				continue
			}
			m, err := compare(ctx, c, s, *pairs, *n)
			if err != nil {
				c.close()
				return false, fmt.Errorf("%s, %s: %w", name, s.name, err)
			}
			bar, verdict := "", ""
			if bound, ok := bounds[s.name]; ok {
				bar, verdict = fmt.Sprintf("≤ %.3f", bound), "yes"
				if m.ratio(.5) > bound {
					verdict, holds = "NO", false
				}
			}
			fmt.Fprintf(out, "| %s | %s | %.3f | %.3f | %.3f | %.3f–%.3f | %.3f | %s | %s |\n",
				name, s.name, quantile(m.off, .5), quantile(m.on, .5), m.ratio(.5), m.ratio(.25), m.ratio(.75), m.allocs, bar, verdict)
		}
		c.close()
	}
	return holds, nil
}

func names() string {
	var all []string
	for _, s := range subjects {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

// load is the system's, where it says so: others' work makes the figures worthless.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// measured are pairs of CPU µs per record, and the difference in allocations per record.
type measured struct {
	off, on []float64
	allocs  float64
}

func (m measured) ratio(q float64) float64 {
	ratios := make([]float64, len(m.on))
	for i := range m.on {
		ratios[i] = m.on[i] / m.off[i]
	}
	return quantile(ratios, q)
}

func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	at := q * float64(len(v)-1)
	low := int(at)
	high := min(low+1, len(v)-1)
	return v[low] + (at-float64(low))*(v[high]-v[low])
}

// compare runs without and with a subject, in turns: every pair begins with the other one. A
// pair before the measured ones warms up.
func compare(ctx context.Context, c *chain, s subject, pairs, n int) (m measured, err error) {
	for i := -1; i < pairs; i++ {
		var used [2]usage
		for k := range 2 {
			on := (i + k) & 1
			if used[on], err = once(ctx, c, s, on == 1, n); err != nil {
				return m, err
			}
		}
		if i < 0 {
			continue
		}
		m.off = append(m.off, used[0].cpu.Seconds()*1e6/float64(n))
		m.on = append(m.on, used[1].cpu.Seconds()*1e6/float64(n))
		m.allocs += (float64(used[1].allocs) - float64(used[0].allocs)) / float64(n) / float64(pairs)
	}
	return m, nil
}

// usage is the process's own.
type usage struct {
	cpu    time.Duration
	allocs uint64
}

func used() (u usage, err error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, fmt.Errorf("read own resource usage: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs}, nil
}
