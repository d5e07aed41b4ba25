package pipelinetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Scenario is what [EveryStep] disturbs.
type Scenario struct {
	// Build returns the pipeline. It is called for every run and every restart,
	// in the bubble, so that no state outlives a worker.
	Build func() *pipeline.Pipeline
	// Feed feeds the cluster before the pipeline starts.
	Feed func(c *Cluster)
	// Config configures the cluster. Topics default to all of the pipeline, of 2
	// partitions each, BatchRecords to 3, so that there are some steps.
	Config Config
	// Options are the worker's. With Require(AtLeastOnce) among the engine's,
	// set AtLeastOnce below as well.
	Options []Option
	// AtLeastOnce weakens the comparison: every output of the undisturbed run
	// must be there, at least once.
	AtLeastOnce bool
	// Check, if set, looks at the cluster after every run, the undisturbed one
	// included, when everything is committed.
	Check func(c *Cluster) error
	// OnlyCheck leaves the outputs to Check: for stages whose outputs depend on where
	// transactions end, such as batches. Positions are compared in any case.
	OnlyCheck bool
	// Occurrences is how many occurrences of each step are disturbed. Default 2:
	// the first, and one in the middle.
	Occurrences int
	// Steps and Kinds limit what is done. Default: all.
	Steps []Step
	Kinds []Kind
}

// EveryStep runs a pipeline undisturbed, and then again for every step of the
// engine's protocol that it has come by, every kind of fault, and both sides of
// the step, each in a subtest and a testing/synctest bubble of its own. After a
// crash or a fatal error the pipeline is built anew and started again under the
// same name. In the end, read_committed outputs and committed positions must be
// those of the undisturbed run: each record as often, in the same partition, and
// in the same order among those that come from one input partition; what was
// retried later (see pipeline.RetryTopics) has no order. Every
// goroutine of the run must have ended, or the bubble fails the test.
//
// Use it for pipelines and for stages with state. What a stage puts out must not
// depend on the clock or on where a transaction ends, else set Scenario.Check and
// OnlyCheck, and compare there.
func EveryStep(t *testing.T, s Scenario) {
	t.Helper()
	if s.OnlyCheck && s.Check == nil {
		t.Fatal("a Scenario with OnlyCheck needs a Check")
	}
	s.Occurrences = cmp.Or(s.Occurrences, 2)
	want, trace := s.undisturbed(t)
	if want == nil {
		return
	}
	fired := map[Step]bool{}
	for _, f := range s.faults(trace) {
		if _, listed := fired[f.Step]; !listed {
			fired[f.Step] = false
		}
		t.Run(f.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				struck, err := s.disturbed(t.Context(), f, want)
				if err != nil {
					t.Error(err)
				}
				fired[f.Step] = fired[f.Step] || struck
			})
		})
	}
	for step, ok := range fired {
		if !ok { // with go test -run there may be few of them
			t.Logf("no fault at step %q went off: the disturbed runs did not come by it", step)
		}
	}
}

func (s *Scenario) undisturbed(t *testing.T) (want *outcome, trace []Event) {
	t.Run("undisturbed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := s.cluster()
			if err := c.Run(t.Context(), p, s.Options...); err != nil {
				t.Fatal(err)
			}
			// An abort comes by only if something fails.
			trace = append(c.Trace(), Event{Step: StepAbort, N: 1}, Event{Step: StepAbort, When: After, N: 1})
			if s.Check != nil {
				if err := s.Check(c); err != nil {
					t.Fatal(err)
				}
			}
			want = c.outcome(p, s.Options)
		})
	})
	return want, trace
}

func (s *Scenario) cluster() (*Cluster, *pipeline.Pipeline) {
	p, cfg := s.Build(), s.Config
	if cfg.Topics == nil {
		cfg.Topics = TopicsOf(p, 2)
	}
	cfg.BatchRecords = cmp.Or(cfg.BatchRecords, 3)
	c := NewCluster(cfg)
	s.Feed(c)
	return c, p
}

// faults lists what can be done at the steps of a trace.
func (s *Scenario) faults(trace []Event) []Fault {
	seen := map[Step]int{}
	for _, e := range trace {
		seen[e.Step] = max(seen[e.Step], e.N)
	}
	var all []Fault
	for _, step := range Steps {
		if seen[step] == 0 || len(s.Steps) > 0 && !slices.Contains(s.Steps, step) {
			continue
		}
		for _, n := range spread(seen[step], s.Occurrences) {
			for kind := Abortable; kind <= LateEnd; kind++ {
				if len(s.Kinds) > 0 && !slices.Contains(s.Kinds, kind) {
					continue
				}
				for _, when := range []When{Before, After} {
					if possible(step, when, kind) {
						all = append(all, Fault{Step: step, When: when, N: n, Kind: kind})
					}
				}
			}
		}
	}
	return all
}

// spread picks k of the numbers 1 to n: the first, and others at equal distances.
func spread(n, k int) []int {
	var picked []int
	for i := range min(n, k) {
		picked = append(picked, 1+i*n/min(n, k))
	}
	return picked
}

// possible tells which faults there are: an error is definite only as long as
// nothing has been committed.
func possible(step Step, when When, kind Kind) bool {
	switch {
	case kind == LateEnd:
		return when == Before && (step == StepCommit || step == StepAbort)
	case kind == Abortable && when == After:
		return step != StepCommit && step != StepBegin && step.ofSink()
	case !step.ofSink():
		return kind == FatalError || kind == Crash || kind == LoseSession
	}
	return true
}

// restarts bounds how often a worker is started again.
const restarts = 3

// disturbed runs the pipeline with one fault and reports whether it went off.
func (s *Scenario) disturbed(ctx context.Context, f Fault, want *outcome) (struck bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	c, p := s.cluster()
	c.Inject(f)
	if f.Step == StepAbort { // have something to abort
		c.Inject(Fault{Step: StepCommit, N: f.N, Kind: Abortable})
	}
	ends := f.Kind == Crash || f.Kind == FatalError
	for try := 0; ; try++ {
		err := c.Run(ctx, p, s.Options...)
		if err == nil && ctx.Err() != nil {
			return false, errors.New("the pipeline did not reach the end within an hour")
		}
		if err == nil && c.Finished(p, s.Options...) {
			break
		}
		fired := len(c.Armed()) == 0
		switch {
		case try == restarts:
			return false, fmt.Errorf("after %d restarts: %w", restarts, err)
		case !ends || !fired:
			return false, fmt.Errorf("the pipeline failed: %w", err)
		case f.Kind == Crash && !errors.Is(err, ErrCrashed), f.Kind == FatalError && err != nil && !errors.Is(err, ErrInjected):
			return false, fmt.Errorf("the pipeline failed with another error than the injected one: %w", err)
		}
		p = s.Build()
	}
	if s.Check != nil {
		if err := s.Check(c); err != nil {
			return false, err
		}
	}
	got := c.outcome(p, s.Options)
	if s.OnlyCheck {
		got.lines = want.lines
	}
	return len(c.Armed()) == 0, got.compare(want, s.AtLeastOnce)
}

// outcome is what a run leaves behind, without what depends on chance: offsets
// of outputs, and the partition of those that have no key.
type outcome struct {
	lines     []string
	positions []string
	open      []string
}

func (c *Cluster) outcome(p *pipeline.Pipeline, opts []Option) *outcome {
	w := c.worker(append([]Option{Group(p.Name())}, opts...))
	c.mu.Lock()
	defer c.mu.Unlock()
	o := new(outcome)
	retries := retryTopics(p)
	for _, topic := range p.Outputs() {
		for _, l := range c.topics[topic].partitions {
			order := map[pipeline.Partition]int{} // among those of one input partition
			l.readCommitted(0, func(e *entry) bool {
				from, again := c.first(e.from, retries)
				part := pipeline.Partition{Topic: e.from.Topic, Partition: e.from.Partition}
				order[part]++
				place := fmt.Sprintf("%v from %v #%d", l.part, part, order[part])
				if e.spread || again || e.from == (pipeline.Origin{}) {
					place = topic
				}
				o.lines = append(o.lines, place+": "+describe(&e.Raw, from))
				return true
			})
		}
	}
	slices.Sort(o.lines)
	for _, topic := range p.Inputs() {
		for _, l := range c.topics[topic].partitions {
			passed := l.passed(c.group(w.group).committed[l.part])
			o.positions = append(o.positions, fmt.Sprintf("%v passed: %v", l.part, passed))
		}
	}
	for id, p := range c.producers {
		if p.open != nil {
			o.open = append(o.open, id)
		}
	}
	return o
}

func retryTopics(p *pipeline.Pipeline) (all []string) {
	for _, n := range p.Topology().Nodes {
		for _, r := range n.RetryTopics {
			all = append(all, r.Topic)
		}
	}
	return all
}

// first is where an input record stood before it was retried, and whether it was: its offsets in
// retry topics, and its order there among those of other partitions, depend on chance. mu
// must be held.
func (c *Cluster) first(from pipeline.Origin, retries []string) (_ pipeline.Origin, again bool) {
	for slices.Contains(retries, from.Topic) {
		e := &c.topics[from.Topic].partitions[from.Partition].entries[from.Offset]
		if e.from == (pipeline.Origin{}) { // fed by the test
			break
		}
		from, again = e.from, true
	}
	return from, again
}

func describe(r *pipeline.Raw, from pipeline.Origin) string {
	var b strings.Builder
	fmt.Fprintf(&b, "key %q value %q of %v at %d", r.Key, r.Value, from, r.Timestamp.UnixMilli())
	if r.Value == nil {
		b.WriteString(" (tombstone)")
	}
	for _, h := range r.Headers {
		if h.Key == pipeline.HeaderRetryDue {
			continue // goes by the clock
		}
		fmt.Fprintf(&b, " %s=%q", h.Key, h.Value)
	}
	return b.String()
}

// compare reports how two outcomes differ.
func (o *outcome) compare(want *outcome, atLeastOnce bool) error {
	var errs []error
	report := func(what string, lines []string) {
		if len(lines) > 0 {
			errs = append(errs, fmt.Errorf("%s:\n\t%s", what, strings.Join(lines, "\n\t")))
		}
	}
	if atLeastOnce {
		report("lost", minus(unordered(want.lines), unordered(o.lines)))
	} else {
		report("lost or moved", minus(want.lines, o.lines))
		report("doubled or moved", minus(o.lines, want.lines))
	}
	report("positions", minus(o.positions, want.positions))
	report("transactions left open", o.open)
	return errors.Join(errs...)
}

// unordered drops the place from a line, which repetitions shift.
func unordered(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		_, out[i], _ = strings.Cut(l, ": ")
	}
	return out
}

// minus returns the elements of a that are not in b, as often.
func minus(a, b []string) (left []string) {
	n := map[string]int{}
	for _, x := range b {
		n[x]++
	}
	for _, x := range a {
		if n[x]--; n[x] < 0 {
			left = append(left, x)
		}
	}
	return left
}
