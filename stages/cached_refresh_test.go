package stages_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/stages"
)

// versions is a table whose value is the number of the look-up, which takes a second.
type versions struct {
	n    int
	fail bool
	gone bool
}

func (v *versions) Get(context.Context, string) (string, bool, error) {
	v.n++
	n := v.n
	time.Sleep(time.Second)
	if v.fail {
		return "", false, errOops
	}
	return fmt.Sprint(n), !v.gone, nil
}

func expectVersion(t *testing.T, c *stages.Cache[string, string], want string, took time.Duration) {
	t.Helper()
	began := time.Now()
	v, ok, err := c.Get(t.Context(), "a")
	if d := time.Since(began); v != want || !ok || err != nil || d != took {
		t.Errorf("Get = %q %v %v after %v, want %q after %v", v, ok, err, d, want, took)
	}
}

// The first who asks late in a value's time looks it up; the others get the old one.
func TestCachedRefreshesAhead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		table := &versions{}
		c := stages.Cached[string, string](table, stages.CachedConfig{TTL: time.Minute, RefreshAhead: 10 * time.Second})
		expectVersion(t, c, "1", time.Second)
		time.Sleep(50*time.Second - time.Nanosecond)
		expectVersion(t, c, "1", 0)
		time.Sleep(time.Nanosecond)
		var wg sync.WaitGroup
		wg.Go(func() { expectVersion(t, c, "2", time.Second) })
		synctest.Wait()
		for range 5 {
			expectVersion(t, c, "1", 0)
		}
		wg.Wait()
		time.Sleep(49 * time.Second) // beyond the first one's time
		expectVersion(t, c, "2", 0)
		if s := c.Stats(); s.Entries != 1 || s.Misses != 2 || s.Hits != 7 || s.Evictions != 0 {
			t.Errorf("stats %+v", s)
		}
		bytes := c.Stats().Bytes
		c.Forget("a")
		if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 || bytes <= 0 {
			t.Errorf("stats %+v, and %d bytes before", s, bytes)
		}
	})
}

// A table that is down is asked a few times only, and the value is good until its end.
func TestCachedRefreshFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		table := &versions{}
		c := stages.Cached[string, string](table, stages.CachedConfig{TTL: time.Minute, RefreshAhead: 20 * time.Second})
		expectVersion(t, c, "1", time.Second)
		table.fail = true
		end := time.Now().Add(time.Minute)
		time.Sleep(40 * time.Second)
		for time.Until(end) > 2*time.Second {
			if v, _, err := c.Get(t.Context(), "a"); v != "1" || err != nil {
				t.Fatalf("Get = %q, %v", v, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if table.n < 3 || table.n > 6 {
			t.Errorf("%d look-ups", table.n)
		}
		time.Sleep(time.Until(end))
		if _, _, err := c.Get(t.Context(), "a"); !errors.Is(err, errOops) {
			t.Errorf("got %v, want the table's error", err)
		}
	})
}

// A look-up ahead that ends after the value's time has no old one to fall back on, and
// one that finds nothing any more ends it.
func TestCachedRefreshEndsAValue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		table := &versions{}
		c := stages.Cached[string, string](table, stages.CachedConfig{TTL: time.Minute, RefreshAhead: time.Second / 2})
		expectVersion(t, c, "1", time.Second)
		time.Sleep(time.Minute - time.Second/4)
		table.fail = true
		if _, _, err := c.Get(t.Context(), "a"); !errors.Is(err, errOops) {
			t.Errorf("got %v, want the table's error", err)
		}
		table.fail = false
		expectVersion(t, c, "3", time.Second)
		time.Sleep(time.Minute - time.Second/4)
		table.gone = true
		for range 2 {
			if _, ok, err := c.Get(t.Context(), "a"); ok || err != nil {
				t.Errorf("Get = %v, %v, want nothing", ok, err)
			}
		}
		if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}
