//go:build unix

// Package scenario lets things go wrong while workers run, and has what came of it
// judged. A scenario acts on a [Run]: it kills workers and brokers, or adds rules to the
// proxy, waits for conditions in between, never for a time to pass, and says what must
// have been hit. The same seed chooses the same victims in the same order.
package scenario

import (
	"context"
	"slices"
	"time"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Scenario is a way for things to go wrong.
type Scenario struct {
	Name string
	// About says in a sentence what happens, for reports.
	About string
	// Workers is how many run from the beginning: w0, w1 and so on. Default: 3.
	Workers int
	// Dynamic workers have no instance name: they leave the group when they end, and
	// never come back as who they were.
	Dynamic bool
	// Spares says that a producer's retries cure all of it: no transaction may suffer.
	Spares bool
	// Stateless workers do not count (see package workload).
	Stateless bool
	// Flags are further ones of the workers.
	Flags []string
	// Inputs and Rate are what is written, and more until the scenario is played.
	// Defaults: 45,000, and 4,000 a second.
	Inputs uint64
	Rate   float64
	// Generator, if not nil, changes the usual one.
	Generator func(*workload.Generator)
	// Partitions is how many the input has in the beginning. Default: InputPartitions.
	Partitions int32
	// Every is the time between samples of what is committed. Default: that of package history.
	Every time.Duration
	// Bounds are what a worker may have taken when it ends. Default: 250 goroutines, 500 MiB.
	Bounds check.Bounds
	// Play does it. The input is being written meanwhile.
	Play func(ctx context.Context, r *Run) error
	// Unjudged says that there is nothing to judge afterwards, since Play destroys what
	// the judge would read: it judges for itself.
	Unjudged bool
}

const (
	defaultWorkers = 3
	defaultInputs  = 45_000
	defaultRate    = 4_000
	// InputPartitions and OutputPartitions are those of the topics, unless a scenario has others.
	InputPartitions  = 9
	OutputPartitions = 6
)

func (s Scenario) withDefaults() Scenario {
	if s.Workers == 0 {
		s.Workers = defaultWorkers
	}
	if s.Inputs == 0 {
		s.Inputs = defaultInputs
	}
	if s.Rate == 0 {
		s.Rate = defaultRate
	}
	if s.Partitions == 0 {
		s.Partitions = InputPartitions
	}
	if s.Bounds == (check.Bounds{}) {
		s.Bounds = check.Bounds{Goroutines: 250, RSS: 500 << 20}
	}
	return s
}

// CI are the scenarios that together take some minutes.
func CI() []Scenario { return slices.Concat(ofWorkers, ofBrokers, ofConnections, ofRecords) }

// Find returns the scenario of that name.
func Find(name string) (Scenario, bool) {
	all := CI()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}
