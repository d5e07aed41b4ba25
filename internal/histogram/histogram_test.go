package histogram

import (
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var h Histogram
	if h.Quantile(.5) != 0 || h.Count() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	for i := 1; i <= 1000; i++ {
		h.Add(time.Duration(i) * time.Millisecond)
	}
	h.Add(-time.Second)
	for q, want := range map[float64]time.Duration{0: 0, .5: 500 * time.Millisecond, .99: 990 * time.Millisecond, 1: time.Second} {
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1./steps)+1 {
			t.Errorf("quantile %v is %v, want %v or a little more", q, got, want)
		}
	}
	if h.Count() != 1001 {
		t.Errorf("%d counted", h.Count())
	}
}

// Every bucket ends where the next begins.
func TestBucketsAreWithoutGaps(t *testing.T) {
	for i := range 40 * steps {
		end := uint64(edge(i))
		if bucket(end-1) != i || bucket(end) != i+1 {
			t.Fatalf("bucket %d ends at %d ns, which is in %d, and the one before in %d", i, end, bucket(end), bucket(end-1))
		}
	}
}

// What came between two looks is told apart.
func TestSince(t *testing.T) {
	var h Histogram
	h.AddN(10*time.Microsecond, 100)
	h.Add(time.Second)
	before := h.Counts()
	h.AddN(10*time.Millisecond, 98)
	h.AddN(time.Second, 2)
	c := h.Counts().Since(before)
	if c.Count() != 100 || h.Count() != 201 || before.Count() != 101 {
		t.Errorf("%d, in all %d, before %d", c.Count(), h.Count(), before.Count())
	}
	if p50, p99 := c.Quantile(.5), c.Quantile(.99); p50 < 10*time.Millisecond || p50 > 11*time.Millisecond || p99 < time.Second {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	if n := c.AtMost(20 * time.Millisecond); n != 98 {
		t.Errorf("%d took at most 20 ms", n)
	}
	if c.Sum() != 2980*time.Millisecond {
		t.Errorf("sum %v", c.Sum())
	}
	if all := before.Plus(c); all.Count() != 201 || all.Sum() != h.Counts().Sum() || all.AtMost(20*time.Millisecond) != 198 || all.Quantile(1) < time.Second {
		t.Errorf("together %d of %v", all.Count(), all.Sum())
	}
	if none := h.Counts().Since(h.Counts()); none.Count() != 0 || none.Quantile(.5) != 0 {
		t.Errorf("%d after nothing", none.Count())
	}
}

// What is small is counted exactly, the bound itself included.
func TestAtMostOfSmallNumbers(t *testing.T) {
	var h Histogram
	for n := range 12 {
		h.Add(time.Duration(n))
	}
	for _, d := range []time.Duration{0, 1, 10} {
		if n := h.Counts().AtMost(d); n != int64(d)+1 {
			t.Errorf("%d are at most %d", n, d)
		}
	}
}
