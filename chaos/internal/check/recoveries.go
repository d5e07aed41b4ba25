package check

import (
	"slices"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// Outcome is what can be said of a recovery.
type Outcome int

const (
	// Recovered: every input partition was committed further than at the healing, or to
	// its end.
	Recovered Outcome = iota
	// Overtaken: before that, another fault began, or one that had begun earlier was
	// still there. The recovery of that one stands for both.
	Overtaken
	// Unseen: the samples end before that.
	Unseen
)

// Recovery is how commits went on after a fault.
type Recovery struct {
	Fault   Fault
	Outcome Outcome
	// Took is the time from the healing to when the brokers had said that all went on,
	// so at most a sample's time too long. It is 0 unless the outcome is Recovered.
	Took time.Duration
}

// Recoveries says of each fault that was healed how long it took, in the sense of
// [CheckResumed], until commits went on. Partitions that were added after the healing
// do not count.
func Recoveries(samples []history.Sample, faults []Fault) (all []Recovery) {
	var last time.Time
	if len(samples) > 0 {
		last = samples[len(samples)-1].At
	}
	since, stood := appearances(samples), standings(samples, faults)
	for i, fault := range faults {
		if fault.Healed.IsZero() {
			continue
		}
		from, to := calm(faults, i, last)
		r := Recovery{Fault: fault, Outcome: Unseen}
		if to.Before(last) {
			r.Outcome = Overtaken
		}
		if at, ok := recovered(between(samples, from, to), since, stood[i], from); ok && !at.After(to) {
			r.Outcome, r.Took = Recovered, at.Sub(from)
		}
		all = append(all, r)
	}
	return all
}

// recovered returns when each partition that was there at a time had gone on.
func recovered(window []history.Sample, since []time.Time, stood standing, from time.Time) (at time.Time, ok bool) {
	var standing []int
	for p := range since {
		if !since[p].After(from) {
			standing = append(standing, p)
		}
	}
	for i := range window {
		s := &window[i]
		standing = slices.DeleteFunc(standing, func(p int) bool { return wentOn(s, p, stood.at(p)) })
		if len(standing) == 0 {
			return s.Known(), true
		}
	}
	return at, false
}
