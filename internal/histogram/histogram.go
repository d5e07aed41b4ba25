// Package histogram counts durations in buckets.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const steps = 16

// Histogram counts durations from a microsecond on, in buckets that are at most 1/16
// wide. Its zero value is empty; it may be used from several goroutines.
type Histogram struct{ buckets [64 * steps]atomic.Int64 }

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.buckets[bucket(uint64(max(0, d.Microseconds())))].Add(1)
}

func bucket(v uint64) int {
	if v < steps {
		return int(v)
	}
	shift := bits.Len64(v) - 5
	return (shift+1)*steps + int(v>>shift&(steps-1))
}

// edge is a bucket's upper edge.
func edge(i int) time.Duration {
	if i < steps {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/steps - 1
	return time.Duration((uint64(i%steps)+steps+1)<<shift) * time.Microsecond
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
func (h *Histogram) Quantile(q float64) time.Duration {
	want := max(1, int64(q*float64(h.Count())))
	var n int64
	for i := range h.buckets {
		if n += h.buckets[i].Load(); n >= want {
			return edge(i)
		}
	}
	return 0
}
