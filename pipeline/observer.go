package pipeline

import (
	"sync"
	"time"
)

// Observer is told how a run goes, for metrics and for pages that show it. What else
// it wants to know, it says by the interfaces below. The calls are made from the
// engine's goroutines and hold it up: they must not block and should take
// microseconds. One observer may serve several runs at once.
type Observer interface {
	// RunStarted is called before source and sink are opened.
	RunStarted(r *Running)
	// RunEnded is called last, with what Run returns.
	RunEnded(r *Running, err error)
}

// Running is one run of a pipeline. It may be kept and used from any goroutine, also
// after the run.
type Running struct {
	Pipeline *Pipeline
	// Stats are the run's counters: those given to Observe, or its own.
	Stats *Stats
	// Source and Sink are the run's ends; they may know more, see [LagMeter].
	Source    Source
	Sink      Sink
	Guarantee Guarantee
	// CommitInterval is the one that is in force.
	CommitInterval time.Duration
	// Settings are those of the run, its source and its sink; see [Configured].
	Settings []Setting
}

// ProcessingObserver is an [Observer] of how long records take.
type ProcessingObserver interface {
	Observer
	// Processed is called once for each hand-over of some hundred records, from
	// several goroutines, with the times that records of a topic took from their
	// chain's begin to its end. Where these are short, not every record is timed: of
	// those that take 1 µs about one in 1,000, of those that take 1 ms or more all.
	// The slice is the caller's again when it returns.
	Processed(r *Running, topic string, took []time.Duration)
}

// TransactionObserver is an [Observer] of transactions.
type TransactionObserver interface {
	Observer
	// TransactionEnded is called after each one, from one goroutine at a time.
	TransactionEnded(r *Running, t TransactionEnd)
}

// DeadLetterObserver is an [Observer] of dead letters.
type DeadLetterObserver interface {
	Observer
	// DeadLettered is called when dead letters have been committed, from one goroutine
	// at a time. Of one transaction it is told of at most 100 and 1 MiB, the first.
	DeadLettered(r *Running, letters []DeadLettered)
}

// Outcome is how a transaction has ended.
type Outcome uint8

const (
	// Committed is certain.
	Committed Outcome = iota
	// Aborted: nothing of it will be seen, its input is replayed.
	Aborted
	// OutcomeUnknown: it may be committed or not; the next session begins where the
	// broker says.
	OutcomeUnknown
)

// String returns the word for metrics.
func (o Outcome) String() string {
	return [...]string{"committed", "aborted", "unknown"}[min(o, OutcomeUnknown)]
}

// TransactionEnd is one transaction's end; at least once, where there are none, what was
// done between two commits of positions.
type TransactionEnd struct {
	Outcome Outcome
	// Reason is one of few words that say what failed, "" if nothing did: begin, send,
	// partition, flush, offsets, commit, rejected (records for their own sake), or
	// "end of session".
	Reason string
	// Records is the number of input records in it, Bytes the keys and values of input
	// and output.
	Records, Bytes int64
	// Took is the time since it began, Committing the part in which it was committed or
	// aborted, when no records were taken.
	Took, Committing time.Duration
}

// DeadLettered is a record that has become a dead letter.
type DeadLettered struct {
	// At is when it failed.
	At time.Time
	// Stage is where, Err why.
	Stage string
	Err   error
	// Record is the input record; one that was retried later is as it stood at first, its
	// Origin, too. Its slices must not be changed.
	Record Raw
}

// Observers sets who is told of the run, in this order.
func Observers(o ...Observer) RunOption {
	return func(c *runConfig) { c.observers = append(c.observers, o...) }
}

// observers are those of one run, by what they want to know.
type observers struct {
	run          *Running
	all          []Observer
	processing   []ProcessingObserver
	transactions []TransactionObserver
	letters      []DeadLetterObserver

	mu      sync.Mutex
	pending []DeadLettered // of the open transaction
	bytes   int            // in them
	waiting []DeadLettered // of tables, for the next transaction
}

const (
	maxObservedLetters     = 100
	maxObservedLetterBytes = 1 << 20
)

func newObservers(all []Observer, run *Running) *observers {
	o := &observers{run: run, all: all}
	for _, x := range all {
		if p, ok := x.(ProcessingObserver); ok {
			o.processing = append(o.processing, p)
		}
		if t, ok := x.(TransactionObserver); ok {
			o.transactions = append(o.transactions, t)
		}
		if d, ok := x.(DeadLetterObserver); ok {
			o.letters = append(o.letters, d)
		}
	}
	return o
}

func (o *observers) started() {
	for _, x := range o.all {
		x.RunStarted(o.run)
	}
}

func (o *observers) ended(err error) {
	for _, x := range o.all {
		x.RunEnded(o.run, err)
	}
}

func (o *observers) processed(topic string, took []time.Duration) {
	for _, p := range o.processing {
		p.Processed(o.run, topic, took)
	}
}

// handOver takes the dead letters that are handed to the open transaction.
func (o *observers) handOver(letters []DeadLettered) {
	if len(o.letters) == 0 || len(letters) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range letters {
		o.pending = o.keep(o.pending, l)
	}
}

// ofTable takes a dead letter that goes with the next transaction, and after an abort
// with the one after it.
func (o *observers) ofTable(l DeadLettered) {
	if len(o.letters) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = o.keep(o.waiting, l)
}

func (o *observers) keep(to []DeadLettered, l DeadLettered) []DeadLettered {
	size := len(l.Record.Key) + len(l.Record.Value)
	if len(to) >= maxObservedLetters || o.bytes+size > maxObservedLetterBytes {
		return to
	}
	o.bytes += size
	return append(to, l)
}

func (o *observers) transactionEnded(t TransactionEnd) {
	for _, x := range o.transactions {
		x.TransactionEnded(o.run, t)
	}
	if len(o.letters) == 0 {
		return
	}
	o.mu.Lock()
	letters := o.pending
	o.pending = nil
	if t.Outcome == Committed {
		letters, o.waiting = append(letters, o.waiting...), nil
	}
	o.bytes = 0
	o.mu.Unlock()
	if t.Outcome != Committed || len(letters) == 0 {
		return
	}
	for _, x := range o.letters {
		x.DeadLettered(o.run, letters)
	}
}
