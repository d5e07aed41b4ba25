package check

import (
	"slices"
	"sort"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// CheckResumed sees that after each fault every input partition is committed further,
// or to its end, within limit of the healing. If another fault begins before that, it
// is that one's healing that counts. A partition that was added later has limit from
// when it was seen.
func CheckResumed(samples []history.Sample, faults []Fault, limit time.Duration) []Violation {
	f := findings{of: Resumed}
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1].At
	since, stood := appearances(samples), standings(samples, faults)
	for i, fault := range faults {
		if fault.Healed.IsZero() {
			f.add("%s was never healed", fault.Name)
			continue
		}
		from, to := calm(faults, i, last)
		if to.Sub(from) < limit {
			continue // too short to say
		}
		if len(between(samples, from, from.Add(limit))) == 0 {
			f.add("nothing is known of the %v after %s was healed", limit, fault.Name)
			continue
		}
		for p := range since {
			began := from
			if since[p].After(from) {
				began = since[p]
			}
			if to.Sub(began) < limit {
				continue
			}
			before := stood[i].at(p)
			window := between(samples, began, began.Add(limit))
			if !slices.ContainsFunc(window, func(s history.Sample) bool { return wentOn(&s, p, before) }) {
				f.add("partition %d stood at %d for %v after %s was healed at %s", p, before, limit, fault.Name, clock(from))
			}
		}
	}
	return f.all()
}

// between returns the samples from one time to another; they are in order of time.
func between(samples []history.Sample, from, to time.Time) []history.Sample {
	first := sort.Search(len(samples), func(i int) bool { return !samples[i].At.Before(from) })
	after := sort.Search(len(samples), func(i int) bool { return samples[i].At.After(to) })
	return samples[first:max(first, after)]
}

// appearances are when each input partition was first seen, zero for those that were
// there from the beginning.
func appearances(samples []history.Sample) (since []time.Time) {
	for i, s := range samples {
		for len(since) < len(s.Input) {
			if i == 0 {
				since = append(since, time.Time{})
			} else {
				since = append(since, s.At)
			}
		}
	}
	return since
}

// standing is the highest position known of each input partition at a time.
type standing []int64

func (s standing) at(partition int) int64 {
	if partition >= len(s) {
		return 0
	}
	return s[partition]
}

// standings are those at the healing of each fault.
func standings(samples []history.Sample, faults []Fault) []standing {
	order := make([]int, len(faults))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return faults[a].Healed.Compare(faults[b].Healed) })
	all := make([]standing, len(faults))
	var known standing
	next := 0
	for _, i := range order {
		for ; next < len(samples) && !samples[next].At.After(faults[i].Healed); next++ {
			for p, c := range samples[next].Committed {
				if p == len(known) {
					known = append(known, 0)
				}
				known[p] = max(known[p], c)
			}
		}
		all[i] = slices.Clone(known)
	}
	return all
}

// wentOn reports whether a partition is committed further than before, or to its end.
func wentOn(s *history.Sample, partition int, before int64) bool {
	committed := committedAt(*s, partition)
	if committed > before {
		return true
	}
	end := inputEnd(s, partition)
	return end != history.Unknown && max(committed, 0) >= end
}

func inputEnd(s *history.Sample, partition int) int64 {
	if partition >= len(s.Input) {
		return history.Unknown
	}
	return s.Input[partition]
}
