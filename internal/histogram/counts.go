package histogram

import "time"

// Counts is how a number of durations is distributed. The zero value holds none.
type Counts struct {
	buckets []count // ascending, none empty
	total   int64
}

type count struct {
	bucket int
	n      int64
}

// Count is how many there are.
func (c Counts) Count() int64 { return c.total }

// Quantile returns what a part q (0 to 1) of them did not exceed, to 1/16 of its size: the
// upper edge of a bucket. It is 0 if there are none.
func (c Counts) Quantile(q float64) time.Duration {
	want := max(1, int64(q*float64(c.total)))
	var n int64
	for _, b := range c.buckets {
		if n += b.n; n >= want {
			return edge(b.bucket)
		}
	}
	return 0
}

// Sum is what they come to together, to 1/16 of its size.
func (c Counts) Sum() (sum time.Duration) {
	for _, b := range c.buckets {
		var below time.Duration
		if b.bucket > 0 {
			below = edge(b.bucket - 1)
		}
		sum += (below + edge(b.bucket)) / 2 * time.Duration(b.n)
	}
	return sum
}

// AtMost is how many did not exceed d, to one bucket.
func (c Counts) AtMost(d time.Duration) (n int64) {
	for _, b := range c.buckets {
		if edge(b.bucket) > d {
			break
		}
		n += b.n
	}
	return n
}

// Since returns those that have come after earlier ones.
func (c Counts) Since(earlier Counts) (d Counts) {
	i := 0
	for _, b := range c.buckets {
		if i < len(earlier.buckets) && earlier.buckets[i].bucket == b.bucket {
			b.n -= earlier.buckets[i].n
			i++
		}
		if b.n > 0 {
			d.buckets = append(d.buckets, b)
			d.total += b.n
		}
	}
	return d
}
