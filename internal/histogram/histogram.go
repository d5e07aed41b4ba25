// Package histogram counts durations in buckets.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const steps = 16

// Histogram counts durations, in buckets that are at most 1/16 wide. Its zero value is
// empty; it may be used from several goroutines.
type Histogram struct {
	buckets [64 * steps]atomic.Int64
	sum     atomic.Int64
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) { h.AddN(d, 1) }

// AddN counts a duration n times.
func (h *Histogram) AddN(d time.Duration, n int64) {
	d = max(0, d)
	h.buckets[bucket(uint64(d))].Add(n)
	h.sum.Add(int64(d) * n)
}

func bucket(ns uint64) int {
	if ns < steps {
		return int(ns)
	}
	shift := bits.Len64(ns) - 5
	return (shift+1)*steps + int(ns>>shift&(steps-1))
}

// edge is a bucket's upper edge.
func edge(i int) time.Duration {
	if i < steps {
		return time.Duration(i + 1)
	}
	shift := i/steps - 1
	return time.Duration((uint64(i%steps) + steps + 1) << shift)
}

// Count is how many durations were counted.
func (h *Histogram) Count() (n int64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// Quantile returns the upper edge of the bucket in which the quantile q (0 to 1) is, 0
// if nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration { return h.Counts().Quantile(q) }

// Counts returns what was counted until now.
func (h *Histogram) Counts() Counts {
	c := Counts{sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		if n := h.buckets[i].Load(); n != 0 {
			c.buckets = append(c.buckets, count{i, n})
			c.total += n
		}
	}
	return c
}
