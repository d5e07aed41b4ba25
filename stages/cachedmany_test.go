package stages_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// unhurried is a table of many keys that takes a second; no key "none-…" is in it.
func unhurried(err *error) *many {
	return &many{takes: time.Second, get: func(ctx context.Context, key string) (string, bool, error) {
		if ctx.Err() != nil {
			return "", false, ctx.Err()
		}
		return "v-" + key, !strings.HasPrefix(key, "none"), *err
	}}
}

// looked returns the batches that a table was asked for.
func (m *many) looked() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, b := range m.batches {
		all = append(all, strings.Join(b, ","))
	}
	return strings.Join(append(all, m.singles...), " ")
}

func expectMany(t *testing.T, c *stages.ManyCache[string, string], keys ...string) {
	t.Helper()
	want := map[string]string{}
	for _, k := range keys {
		if !strings.HasPrefix(k, "none") {
			want[k] = "v-" + k
		}
	}
	if got, err := c.GetMany(t.Context(), keys); err != nil || !maps.Equal(got, want) {
		t.Errorf("GetMany(%v) = %v, %v", keys, got, err)
	}
}

func expectLooked(t *testing.T, m *many, want string) {
	t.Helper()
	if got := m.looked(); got != want {
		t.Errorf("looked up %q, want %q", got, want)
	}
}

func TestCachedManyAsksForTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var none error
		m := unhurried(&none)
		c := stages.CachedMany(m, stages.CachedConfig{NegativeTTL: time.Minute})
		expectMany(t, c, "a", "none", "b")
		expectMany(t, c, "a", "none", "c", "b")
		expectMany(t, c, "c", "none")
		mustGet(t, c, "c")
		expectLooked(t, m, "a,none,b c")
		if s := c.Stats(); s.Hits != 6 || s.Misses != 4 || s.Entries != 4 {
			t.Errorf("stats %+v", s)
		}
		time.Sleep(2 * time.Minute)
		expectMany(t, c, "a", "b")
		expectLooked(t, m, "a,none,b c a,b")
	})
}

// A key that somebody looks up is waited for, one by one or together.
func TestCachedManySingleFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var none error
		m := unhurried(&none)
		c := stages.CachedMany(m, stages.CachedConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { expectMany(t, c, "a", "b") })
		synctest.Wait()
		wg.Go(func() { expectMany(t, c, "b", "c") })
		wg.Go(func() { mustGet(t, c, "a") })
		synctest.Wait()
		wg.Go(func() { expectMany(t, c, "c", "b") })
		wg.Wait()
		expectLooked(t, m, "a,b c")
	})
}

func TestCachedManyLeaderGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var none error
		m := unhurried(&none)
		c := stages.CachedMany(m, stages.CachedConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.GetMany(ctx, []string{"a", "b"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want its cancellation", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { expectMany(t, c, "b", "a") })
		short, end := context.WithTimeout(t.Context(), time.Millisecond)
		defer end()
		wg.Go(func() {
			if _, err := c.GetMany(short, []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the waiter's deadline", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		expectLooked(t, m, "a,b b,a")
	})
}

func TestCachedManySharesErrorsAndKeepsNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fail := errOops
		m := unhurried(&fail)
		c := stages.CachedMany(m, stages.CachedConfig{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := c.GetMany(t.Context(), []string{"a", "b"}); !errors.Is(err, errOops) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		fail = nil
		expectMany(t, c, "a", "b")
		expectLooked(t, m, "a,b a,b")
	})
}

// What is due to be refreshed goes along with the rest, and stays if that fails.
func TestCachedManyRefreshesAhead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var fail error
		m := unhurried(&fail)
		c := stages.CachedMany(m, stages.CachedConfig{TTL: time.Minute, RefreshAhead: 20 * time.Second})
		expectMany(t, c, "a", "b")
		time.Sleep(45 * time.Second)
		fail = errOops
		if _, err := c.GetMany(t.Context(), []string{"a", "new"}); !errors.Is(err, errOops) {
			t.Errorf("got %v, want the new one's error", err)
		}
		expectMany(t, c, "a", "b") // the old ones
		fail = nil
		expectMany(t, c, "a", "b") // tried again when half of the rest has passed
		expectLooked(t, m, "a,b a,new b")
		time.Sleep(7 * time.Second)
		expectMany(t, c, "a", "new")
		time.Sleep(20 * time.Second)
		expectMany(t, c, "a", "new")
		expectLooked(t, m, "a,b a,new b a,new")
	})
}

func TestCachedManyPanicFailsNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first := true
		m := &many{takes: time.Second, get: func(_ context.Context, key string) (string, bool, error) {
			if first {
				first = false
				panic(errOops)
			}
			return "v-" + key, true, nil
		}}
		c := stages.CachedMany(m, stages.CachedConfig{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if v := recover(); v != errOops {
					t.Errorf("recovered %v, want its own panic", v)
				}
			}()
			_, _ = c.GetMany(t.Context(), []string{"a", "b"})
		})
		synctest.Wait()
		wg.Go(func() { expectMany(t, c, "a", "b") })
		wg.Wait()
		expectLooked(t, m, "a,b a,b")
	})
}

// EnrichAsync looks up in batches what the cache does not have.
func TestEnrichAsyncThroughCachedMany(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m := &many{takes: time.Second, get: func(_ context.Context, key string) (string, bool, error) { return "!", true, nil }}
		c := stages.CachedMany(m, stages.CachedConfig{})
		p := pipeline.New("p")
		out := stages.EnrichAsync(pipeline.From(p, "in", serde.String()), "mark", func(s string) string { return s[:1] }, c,
			func(s, mark string) string { return s + mark }, stages.AsyncConfig{BatchSize: 3, Concurrency: 1})
		pipeline.To(out, "out", serde.String())
		got := through(t, p, "out", "a1", "b1", "c1", "a2", "b2", "d1")
		expectEqual(t, "out", got, []string{"a1!", "b1!", "c1!", "a2!", "b2!", "d1!"})
		expectLooked(t, m, "a,b,c d")
	})
}
