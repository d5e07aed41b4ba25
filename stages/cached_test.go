package stages_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/stages"
)

// counted is a table that counts its look-ups. Keys that begin with "no" are not
// there.
func counted(n *atomic.Int64) stages.TableFunc[string, string] {
	return func(_ context.Context, key string) (string, bool, error) {
		n.Add(1)
		if strings.HasPrefix(key, "no") {
			return "", false, nil
		}
		return "v-" + key, true, nil
	}
}

func mustGet(t *testing.T, table stages.Table[string, string], key string) {
	t.Helper()
	v, ok, err := table.Get(t.Context(), key)
	if err != nil || !ok || v != "v-"+key {
		t.Fatalf("Get(%q) = %q, %v, %v", key, v, ok, err)
	}
}

func expectLookUps(t *testing.T, n *atomic.Int64, want int64) {
	t.Helper()
	if got := n.Load(); got != want {
		t.Errorf("%d look-ups, want %d", got, want)
	}
}

func TestCachedTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := stages.Cached(counted(&n), stages.CachedConfig{TTL: time.Minute})
		mustGet(t, c, "a")
		time.Sleep(time.Minute - time.Nanosecond)
		mustGet(t, c, "a")
		expectLookUps(t, &n, 1)
		time.Sleep(time.Nanosecond)
		mustGet(t, c, "a")
		expectLookUps(t, &n, 2)
		if s := c.Stats(); s.Hits != 1 || s.Misses != 2 || s.Entries != 1 {
			t.Errorf("stats %+v", s)
		}

		forever := stages.Cached(counted(&n), stages.CachedConfig{TTL: stages.Forever})
		mustGet(t, forever, "a")
		time.Sleep(24 * 365 * time.Hour)
		mustGet(t, forever, "a")
		expectLookUps(t, &n, 3)
	})
}

func TestCachedDefaultTTLIsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := stages.Cached(counted(&n), stages.CachedConfig{})
		mustGet(t, c, "a")
		time.Sleep(59 * time.Second)
		mustGet(t, c, "a")
		time.Sleep(time.Second)
		mustGet(t, c, "a")
		expectLookUps(t, &n, 2)
	})
}

func TestCachedNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		miss := func(c *stages.Cache[string, string]) {
			if v, ok, err := c.Get(t.Context(), "nobody"); v != "" || ok || err != nil {
				t.Fatalf("Get = %q %v %v, want not found", v, ok, err)
			}
		}
		var n atomic.Int64
		c := stages.Cached(counted(&n), stages.CachedConfig{})
		miss(c)
		miss(c)
		expectLookUps(t, &n, 2)

		n.Store(0)
		c = stages.Cached(counted(&n), stages.CachedConfig{NegativeTTL: time.Second})
		miss(c)
		miss(c)
		expectLookUps(t, &n, 1)
		time.Sleep(time.Second)
		miss(c)
		expectLookUps(t, &n, 2)
	})
}

func TestCachedKeepsNoErrors(t *testing.T) {
	calls := 0
	c := stages.Cached(stages.TableFunc[string, string](func(_ context.Context, key string) (string, bool, error) {
		if calls++; calls == 1 {
			return "", false, errOops
		}
		return "v-" + key, true, nil
	}), stages.CachedConfig{NegativeTTL: time.Hour})
	if _, _, err := c.Get(t.Context(), "a"); !errors.Is(err, errOops) {
		t.Fatalf("got %v", err)
	}
	mustGet(t, c, "a")
}

func TestCachedBounds(t *testing.T) {
	var n atomic.Int64
	c := stages.Cached(counted(&n), stages.CachedConfig{MaxEntries: 2})
	for _, k := range []string{"a", "b", "a", "c"} { // b is the oldest
		mustGet(t, c, k)
	}
	mustGet(t, c, "a")
	expectLookUps(t, &n, 3)
	mustGet(t, c, "b")
	expectLookUps(t, &n, 4)
	if s := c.Stats(); s.Entries != 2 || s.Evictions != 2 {
		t.Errorf("stats %+v, want 2 entries and 2 evictions", s)
	}

	c = stages.CachedWithCost(counted(&n), func(_, v string) int { return len(v) * 100 }, stages.CachedConfig{MaxBytes: 10_000})
	for i := range 100 {
		mustGet(t, c, fmt.Sprint(i))
		if s := c.Stats(); s.Bytes > 10_000 || s.Bytes <= 0 {
			t.Fatalf("%d bytes, want at most 10,000", s.Bytes)
		}
	}
	before := c.Stats()
	mustGet(t, c, strings.Repeat("x", 200)) // costs more than the whole cache
	if after := c.Stats(); after.Entries != before.Entries || after.Bytes != before.Bytes {
		t.Errorf("an entry that is too large changed %+v to %+v", before, after)
	}
}

func TestCachedCountsStringsByDefault(t *testing.T) {
	var n atomic.Int64
	c := stages.Cached(counted(&n), stages.CachedConfig{})
	mustGet(t, c, strings.Repeat("x", 1000))
	if b := c.Stats().Bytes; b < 2000 || b > 2500 {
		t.Errorf("an entry with 2,000 bytes of text costs %d", b)
	}
}

func TestCachedForget(t *testing.T) {
	var n atomic.Int64
	c := stages.Cached(counted(&n), stages.CachedConfig{})
	mustGet(t, c, "a")
	c.Forget("a")
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("stats %+v after Forget", s)
	}
	mustGet(t, c, "a")
	expectLookUps(t, &n, 2)
}

// gate is a table whose look-ups wait to be let through.
type gate struct {
	lookUps atomic.Int64
	open    chan struct{}
	err     error
}

func (g *gate) Get(ctx context.Context, key string) (string, bool, error) {
	g.lookUps.Add(1)
	select {
	case <-g.open:
		return "v-" + key, g.err == nil, g.err
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
}

func TestCachedSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		c := stages.Cached[string, string](g, stages.CachedConfig{})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { mustGet(t, c, "a") })
		}
		wg.Go(func() { mustGet(t, c, "b") }) // another key does not wait
		synctest.Wait()
		expectLookUps(t, &g.lookUps, 2)
		close(g.open)
		wg.Wait()
		mustGet(t, c, "a")
		expectLookUps(t, &g.lookUps, 2)
	})
}

func TestCachedWaitersShareAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{}), err: errOops}
		c := stages.Cached[string, string](g, stages.CachedConfig{})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, _, err := c.Get(t.Context(), "a"); !errors.Is(err, errOops) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		close(g.open)
		wg.Wait()
		expectLookUps(t, &g.lookUps, 1)
	})
}

func TestCachedAWaiterGivesUpAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		c := stages.Cached[string, string](g, stages.CachedConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { mustGet(t, c, "a") })
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the waiter's deadline", err)
		}
		close(g.open)
		wg.Wait()
		mustGet(t, c, "a")
		expectLookUps(t, &g.lookUps, 1)
	})
}

func TestCachedACancelledLeaderFailsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		c := stages.Cached[string, string](g, stages.CachedConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := c.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader got %v, want its cancellation", err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() { mustGet(t, c, "a") })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		expectLookUps(t, &g.lookUps, 2) // one of the others took over
		close(g.open)
		wg.Wait()
		expectLookUps(t, &g.lookUps, 2)
	})
}

func TestCachedAPanicFailsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, calls := make(chan struct{}), atomic.Int64{}
		c := stages.Cached(stages.TableFunc[string, string](func(_ context.Context, key string) (string, bool, error) {
			first := calls.Add(1) == 1
			<-open
			if first {
				panic(errOops)
			}
			return "v-" + key, true, nil
		}), stages.CachedConfig{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if v := recover(); v != errOops {
					t.Errorf("the leader recovered %v, want its own panic", v)
				}
			}()
			_, _, _ = c.Get(t.Context(), "a")
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() { mustGet(t, c, "a") })
		}
		synctest.Wait()
		close(open)
		wg.Wait()
		expectLookUps(t, &calls, 2)
	})
}

// What is forgotten while it is looked up may be stale and is not kept.
func TestCachedForgetDuringALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		c := stages.Cached[string, string](g, stages.CachedConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { mustGet(t, c, "a") })
		synctest.Wait()
		c.Forget("a")
		close(g.open)
		wg.Wait()
		if n := c.Stats().Entries; n != 0 {
			t.Errorf("%d entries kept", n)
		}
	})
}

func TestCachedHitAllocatesNothing(t *testing.T) {
	var n atomic.Int64
	c := stages.Cached(counted(&n), stages.CachedConfig{})
	mustGet(t, c, "a")
	if n := testing.AllocsPerRun(100, func() { _, _, _ = c.Get(t.Context(), "a") }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

// Everything at once, for the race detector, with bounds that are checked.
func TestCachedConcurrently(t *testing.T) {
	var n atomic.Int64
	c := stages.Cached(counted(&n), stages.CachedConfig{TTL: time.Microsecond, MaxEntries: 8, NegativeTTL: time.Hour})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint((i * (g + 1)) % 32)
				if i%10 == 0 {
					c.Forget(key)
				}
				if v, ok, err := c.Get(t.Context(), key); err != nil || !ok || v != "v-"+key {
					t.Errorf("Get(%q) = %q, %v, %v", key, v, ok, err)
					return
				}
				if s := c.Stats(); s.Entries > 8 || s.Bytes < 0 {
					t.Errorf("stats %+v", s)
					return
				}
			}
		})
	}
	wg.Wait()
}
