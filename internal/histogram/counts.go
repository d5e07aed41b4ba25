package histogram

import "time"

// Counts is how a number of durations is distributed. The zero value holds none.
type Counts struct {
	buckets []count // ascending, none empty
	total   int64
	sum     time.Duration
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

// Sum is what they come to together.
func (c Counts) Sum() time.Duration { return c.sum }

// AtMost is how many did not exceed d; those within 1/16 of it may be missing.
func (c Counts) AtMost(d time.Duration) (n int64) {
	for _, b := range c.buckets {
		if edge(b.bucket)-1 > d {
			break
		}
		n += b.n
	}
	return n
}

// Plus returns both together.
func (c Counts) Plus(other Counts) Counts {
	sum := Counts{total: c.total + other.total, sum: c.sum + other.sum}
	a, b := c.buckets, other.buckets
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].bucket < b[0].bucket:
			sum.buckets, a = append(sum.buckets, a[0]), a[1:]
		case a[0].bucket > b[0].bucket:
			sum.buckets, b = append(sum.buckets, b[0]), b[1:]
		default:
			sum.buckets = append(sum.buckets, count{a[0].bucket, a[0].n + b[0].n})
			a, b = a[1:], b[1:]
		}
	}
	sum.buckets = append(append(sum.buckets, a...), b...)
	return sum
}

// Since returns those that have come after earlier ones.
func (c Counts) Since(earlier Counts) (d Counts) {
	d.sum = c.sum - earlier.sum
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
