package middleware_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipelinetest"
)

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		began := time.Now()
		p := checking(func(context.Context, string) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(began))
			return nil
		}, middleware.RateLimit(10, 5))
		c := pipelinetest.For(p) // four partitions share the rate
		for i := range 40 {
			c.Feed("in", pipelinetest.Text("k", "v").On(int32(i%4)))
		}
		pipelinetest.Run(t, p, c)
		if len(at) != 40 {
			t.Fatalf("%d records, want 40", len(at))
		}
		for i, d := range at { // 5 at once, then one each 100 ms
			if want := time.Duration(max(0, i-4)) * 100 * time.Millisecond; d-at[0] != want {
				t.Fatalf("record %d came after %v, want %v", i, d-at[0], want)
			}
		}
	})
}

// A record that waits for its turn is not waited for.
func TestRateLimitStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing(middleware.RateLimit(1.0/3600, 1))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "a"), pipelinetest.Text("k", "b"))
		w := c.Start(t.Context(), p)
		time.Sleep(time.Minute)
		synctest.Wait()
		expectValues(t, c, "out", "a")
		began := time.Now()
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		expectValues(t, c, "out", "a")
	})
}

func TestRateLimitMistakes(t *testing.T) {
	for _, r := range []float64{0, -1, math.NaN(), math.SmallestNonzeroFloat64} {
		expectInvalid(t, middleware.RateLimit(r, 1), "middleware.RateLimit")
	}
	expectInvalid(t, middleware.RateLimit(1, 0), "middleware.RateLimit")
}
