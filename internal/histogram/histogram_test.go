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
		if got < want || float64(got) > float64(want)*(1+1./steps)+2000 {
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
		end := uint64(edge(i).Microseconds())
		if bucket(end-1) != i || bucket(end) != i+1 {
			t.Fatalf("bucket %d ends at %d µs, which is in %d, and the one before in %d", i, end, bucket(end), bucket(end-1))
		}
	}
}
