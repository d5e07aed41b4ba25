package check

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Percentiles sum up how long recoveries took. With none that is known, they are 0.
type Percentiles struct {
	// Kind is that of the faults, "" for all of them.
	Kind string
	// Recovered is the number of recoveries that the figures are of. Of the others only
	// their numbers are known.
	Recovered, Overtaken, Unseen int

	Median, P90, P99, Max time.Duration
}

// String is a line for people.
func (p Percentiles) String() string {
	kind := p.Kind
	if kind == "" {
		kind = "all faults"
	}
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	return fmt.Sprintf("%s: %d recovered, median %v, 90 %% %v, 99 %% %v, longest %v; %d overtaken, %d unseen",
		kind, p.Recovered, round(p.Median), round(p.P90), round(p.P99), round(p.Max), p.Overtaken, p.Unseen)
}

// Summarize returns the percentiles of all recoveries, and then those of each kind of
// fault, in the order of their names.
func Summarize(all []Recovery) []Percentiles {
	kinds := map[string][]Recovery{}
	for _, r := range all {
		kinds[r.Fault.kind()] = append(kinds[r.Fault.kind()], r)
	}
	sums := []Percentiles{percentiles("", all)}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		sums = append(sums, percentiles(kind, kinds[kind]))
	}
	return sums
}

func percentiles(kind string, of []Recovery) Percentiles {
	p := Percentiles{Kind: kind}
	var took []time.Duration
	for _, r := range of {
		switch r.Outcome {
		case Recovered:
			took = append(took, r.Took)
		case Overtaken:
			p.Overtaken++
		case Unseen:
			p.Unseen++
		}
	}
	if p.Recovered = len(took); p.Recovered == 0 {
		return p
	}
	slices.Sort(took)
	rank := func(share float64) time.Duration { return took[int(math.Ceil(share*float64(len(took))))-1] }
	p.Median, p.P90, p.P99, p.Max = rank(0.5), rank(0.9), rank(0.99), took[len(took)-1]
	return p
}
