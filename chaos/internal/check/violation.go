package check

import "fmt"

// Invariant is one of the things that hold, whatever happens.
type Invariant int

// The invariants.
const (
	// Delivered: each output that the model expects is there, once and unchanged,
	// and nothing else is.
	Delivered Invariant = iota + 1
	// Ordered: outputs of a partition are in the order of its inputs, and so those
	// of a key are.
	Ordered
	// Atomic: a unit that can be seen is complete, and one that was aborted is not
	// seen.
	Atomic
	// Positions: what is committed ends at the input's end, never goes back, and is
	// never ahead of the outputs.
	Positions
	// Stable: a live reader has seen what a reader sees afterwards.
	Stable
	// Closed: transactions do not stay open.
	Closed
	// Resumed: commits go on after a fault is healed.
	Resumed
	// Bounded: workers' memory and goroutines come back to what they were.
	Bounded
	// Spared: what a producer's retries cure costs no transaction.
	Spared
	// Hit: the faults took place, and did something.
	Hit
)

var names = [...]string{
	Delivered: "delivered", Ordered: "ordered", Atomic: "atomic", Positions: "positions", Stable: "stable",
	Closed: "closed", Resumed: "resumed", Bounded: "bounded", Spared: "spared", Hit: "hit",
}

// String returns the invariant's name.
func (i Invariant) String() string { return names[i] }

// All are all invariants, in order.
func All() (all []Invariant) {
	for i := Delivered; i <= Hit; i++ {
		all = append(all, i)
	}
	return all
}

// Violation is something that must not be.
type Violation struct {
	Invariant Invariant
	// Text says what and where, without keys and values.
	Text string
}

// String is the invariant and the text.
func (v Violation) String() string { return fmt.Sprintf("%v: %s", v.Invariant, v.Text) }

// findings collects violations of one invariant. Only the first are described: one
// bug may make a million.
type findings struct {
	of    Invariant
	first []Violation
	n     int
}

const maxFirst = 8

func (f *findings) add(format string, args ...any) {
	f.n++
	if len(f.first) < maxFirst {
		f.first = append(f.first, Violation{f.of, fmt.Sprintf(format, args...)})
	}
}

func (f *findings) all() []Violation {
	if more := f.n - len(f.first); more > 0 {
		return append(f.first, Violation{f.of, fmt.Sprintf("and %d more", more)})
	}
	return f.first
}
