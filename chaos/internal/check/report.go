package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Evidence is all that a verdict is made from.
type Evidence struct {
	*history.History
	Expectation *Expectation
	Faults      []Fault
	// Growths are those of the output topics. The zero value: they never grew.
	Growths Growths
	// OpenLimit is how old a transaction may get once faults are healed: the
	// transactions' time-out and 15 s. Default: 30 s.
	OpenLimit time.Duration
	// ResumeLimit is how long commits may take to resume. Default: 30 s.
	ResumeLimit time.Duration
	// Bounds are those of each worker, as of its last status.
	Bounds Bounds
	// Spares says that no transaction may have suffered from the faults.
	Spares bool
	// Counters are what the faults must have moved.
	Counters []Counter
}

const defaultLimit = 30 * time.Second

// Expect reads an input topic and asks the model what must come of it.
func Expect(ctx context.Context, brokers []string, topics workload.Topics) (*Expectation, error) {
	x := NewExpectation(topics.Counts != "")
	ends, err := history.ReadInput(ctx, brokers, topics.Input, func(r *kgo.Record) { x.Add(r.Partition, r.Offset, r.Key, r.Value) })
	if err != nil {
		return nil, err
	}
	for len(x.partitions) < len(ends) {
		x.partitions = append(x.partitions, expectedPartition{})
	}
	return x, nil
}

// Report is the verdict.
type Report struct {
	// Violations are in the order of their invariants.
	Violations []Violation
	// Counts are lines for people.
	Counts []string
	// Inputs and Outputs are numbers of records, dead letters included.
	Inputs, Outputs int64
}

// Judge checks all invariants.
func Judge(e Evidence) *Report {
	if e.OpenLimit == 0 {
		e.OpenLimit = defaultLimit
	}
	if e.ResumeLimit == 0 {
		e.ResumeLimit = defaultLimit
	}
	r := new(Report)
	add := func(v []Violation) { r.Violations = append(r.Violations, v...) }
	var aborted []string
	for _, w := range e.Workers {
		aborted = append(aborted, w.Aborted()...)
	}
	add(CheckDelivered(e.Expectation, e.Reread))
	add(CheckOrdered(e.Reread, e.Growths))
	add(CheckAtomic(e.Expectation, e.Reread, aborted))
	add(CheckPositions(e.Expectation, e.Reread, e.Samples))
	for _, live := range e.Live {
		add(CheckStable(live, e.Reread))
	}
	add(CheckClosed(e.Open, e.Samples, e.Faults, e.OpenLimit))
	add(CheckResumed(e.Samples, e.Faults, e.ResumeLimit))
	for _, w := range e.Workers {
		if last, ok := w.Last(); ok {
			add(CheckBounded(w.Name, last, e.Bounds))
		}
	}
	if e.Spares {
		for _, w := range e.Workers {
			add(CheckSpared(w.Name, w.Total(), w.Processes()))
		}
	}
	add(CheckHit(e.Counters))
	r.count(e, len(aborted))
	return r
}

func (r *Report) count(e Evidence, aborted int) {
	line := func(format string, args ...any) { r.Counts = append(r.Counts, fmt.Sprintf(format, args...)) }
	x, log := e.Expectation, e.Reread
	r.Inputs = x.Inputs()
	r.Outputs = int64(log.Len(workload.Left) + log.Len(workload.Right) + log.Len(workload.DeadLetters))
	line("input: %d records, of them %d regular, %d dropped, %d null, %d poisonous, %d that swell, %d that burst", x.Inputs(),
		x.Kind(workload.Regular), x.Kind(workload.Dropped), x.Kind(workload.Null), x.Kind(workload.Poison), x.Kind(workload.Swells), x.Kind(workload.Bursts))
	line("output: %d left, %d right, %d dead letters, of %d expected", log.Len(workload.Left), log.Len(workload.Right), log.Len(workload.DeadLetters), x.Outputs())
	line("units: %d manifests, %d known as aborted", len(log.Manifests), aborted)
	line("samples: %d; transactions ended %v after the workers", len(e.Samples), e.Closing.Round(time.Millisecond))
	for _, w := range e.Workers {
		t := w.Total()
		last, _ := w.Last()
		line("worker %s: %d commits, %d aborts (%d injected), %d sessions, %d initialisations; %d goroutines, heap %.1f MiB, RSS %.1f MiB",
			w.Name, t.Commits, t.Aborts, t.Injected, t.Sessions, t.Recoveries, last.Goroutines, mib(last.Heap), mib(last.RSS))
	}
	for _, c := range e.Counters {
		line("%s: %d", c.Name, c.Got)
	}
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// Violated reports whether an invariant was violated.
func (r *Report) Violated(i Invariant) bool {
	return slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == i })
}

// Err is nil if nothing was violated.
func (r *Report) Err() error {
	errs := make([]error, 0, len(r.Violations))
	for _, v := range r.Violations {
		errs = append(errs, errors.New(v.String()))
	}
	return errors.Join(errs...)
}

// String lists the counts, a verdict on each invariant, and the violations.
func (r *Report) String() string {
	var b strings.Builder
	for _, line := range r.Counts {
		fmt.Fprintln(&b, line)
	}
	found := map[Invariant]int{}
	for _, v := range r.Violations {
		found[v.Invariant]++
	}
	for _, i := range All() {
		verdict := "ok"
		if found[i] > 0 {
			verdict = "VIOLATED"
		}
		fmt.Fprintf(&b, "(%d) %-10v %s\n", int(i), i, verdict)
	}
	for _, v := range r.Violations {
		fmt.Fprintln(&b, " ", v)
	}
	return b.String()
}
