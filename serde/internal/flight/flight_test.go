package flight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

var errAbsent = errors.New("absent")

func keepAbsent(err error) time.Duration {
	if errors.Is(err, errAbsent) {
		return 10 * time.Second
	}
	return 0
}

func value(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

func TestOneLoadForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int, string](10, nil)
		var loads atomic.Int32
		release := make(chan struct{})
		got := make(chan string, 50)
		for range 50 {
			go func() {
				v, err := c.Get(t.Context(), 1, func(context.Context) (string, error) {
					loads.Add(1)
					<-release
					return "one", nil
				})
				got <- fmt.Sprint(v, err)
			}()
		}
		synctest.Wait()
		close(release)
		for range 50 {
			if s := <-got; s != "one<nil>" {
				t.Fatal(s)
			}
		}
		if n := loads.Load(); n != 1 {
			t.Fatalf("%d loads, want 1", n)
		}
		if v, ok := c.Peek(1); !ok || v != "one" {
			t.Fatal("not kept")
		}
	})
}

// The first caller's cancellation is its own: the others get the value.
func TestCancelledLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int, string](10, nil)
		release := make(chan struct{})
		load := func(ctx context.Context) (string, error) {
			select {
			case <-release:
				return "one", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		leaderCtx, cancel := context.WithCancel(t.Context())
		leader, follower := make(chan error, 1), make(chan error, 1)
		go func() { _, err := c.Get(leaderCtx, 1, load); leader <- err }()
		synctest.Wait()
		go func() { _, err := c.Get(t.Context(), 1, load); follower <- err }()
		synctest.Wait()
		cancel()
		err := <-leader
		if !errors.Is(err, context.Canceled) || !pipeline.IsRetriable(err) {
			t.Fatalf("leader: %v", err)
		}
		synctest.Wait()
		close(release)
		if err := <-follower; err != nil {
			t.Fatalf("follower: %v", err)
		}
	})
}

func TestLastCallerCancelsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int, string](10, nil)
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, 1, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return "", ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		// The next caller starts afresh.
		if v, err := c.Get(t.Context(), 1, value("two")); v != "two" || err != nil {
			t.Fatal(v, err)
		}
	})
}

func TestEndedContext(t *testing.T) {
	c := New[int, string](10, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Get(ctx, 1, func(context.Context) (string, error) { t.Error("loaded"); return "", nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestErrorsAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int, string](10, keepAbsent)
		loads := 0
		fail := func(err error) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { loads++; return "", err }
		}
		for range 3 {
			if _, err := c.Get(t.Context(), 1, fail(errAbsent)); !errors.Is(err, errAbsent) {
				t.Fatal(err)
			}
		}
		if loads != 1 {
			t.Fatalf("%d loads within the time, want 1", loads)
		}
		<-time.After(10 * time.Second) // by the bubble's clock
		if v, err := c.Get(t.Context(), 1, value("there")); v != "there" || err != nil {
			t.Fatal(v, err)
		}
		loads = 0
		for range 3 {
			_, _ = c.Get(t.Context(), 2, fail(errors.New("down")))
		}
		if loads != 3 {
			t.Fatalf("%d loads, want 3: other errors are not kept", loads)
		}
	})
}

func TestBounds(t *testing.T) {
	c := New[int, string](3, keepAbsent)
	for i := range 10 {
		_, _ = c.Get(t.Context(), i, value(fmt.Sprint(i)))
		_, _ = c.Get(t.Context(), 100+i, func(context.Context) (string, error) { return "", errAbsent })
		if c.Len() > 3 || len(c.bad) > 3 {
			t.Fatalf("%d values, %d errors", c.Len(), len(c.bad))
		}
	}
	for i, want := range map[int]bool{6: false, 7: true, 8: true, 9: true} {
		if _, ok := c.Peek(i); ok != want {
			t.Errorf("key %d there: %v, want %v", i, ok, want)
		}
	}
	if len(c.order) != 3 || len(c.calls) != 0 {
		t.Errorf("left over: %d in order, %d calls", len(c.order), len(c.calls))
	}
}

func TestPanicIsAnError(t *testing.T) {
	c := New[int, string](3, nil)
	_, err := c.Get(t.Context(), 1, func(context.Context) (string, error) { panic("boom") })
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Fatal(err)
	}
}

func TestPeekAllocatesNothing(t *testing.T) {
	type key struct {
		topic string
		key   bool
	}
	c := New[key, int](3, nil)
	for _, s := range []string{"a", "b"} {
		_, _ = c.Get(t.Context(), key{s, false}, func(context.Context) (int, error) { return 1, nil })
	}
	for _, s := range []string{"a", "b", "absent"} {
		if n := testing.AllocsPerRun(100, func() { c.Peek(key{s, false}) }); n != 0 {
			t.Errorf("%s: %.0f allocations", s, n)
		}
	}
}

func BenchmarkPeek(b *testing.B) {
	c := New[uint32, int](10, nil)
	for _, k := range []uint32{1, 2} {
		_, _ = c.Get(b.Context(), k, func(context.Context) (int, error) { return 1, nil })
	}
	for name, k := range map[string]uint32{"last": 2, "other": 1} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c.Peek(k)
			}
		})
	}
}
