package send

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		if err := m.take(t.Context(), 90, 0); err != nil {
			t.Fatal(err)
		}
		var order []int64
		done := make(chan int64)
		for _, n := range []int64{50, 5, 10} { // 5 would fit, but came after 50
			go func() {
				if err := m.take(t.Context(), n, time.Minute); err != nil {
					t.Error(err)
				}
				done <- n
			}()
			synctest.Wait()
		}
		if !m.waiting() {
			t.Error("nobody waits")
		}
		for _, given := range []int64{40, 5, 10} {
			m.give(given)
			order = append(order, <-done)
			synctest.Wait()
		}
		if order[0] != 50 || order[1] != 5 || order[2] != 10 {
			t.Errorf("served in the order %v", order)
		}
		if m.waiting() || m.available() != 100-90-50-5-10+55 {
			t.Errorf("waiting %v, available %d", m.waiting(), m.available())
		}
	})
}

func TestMemoryRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		if err := m.take(t.Context(), 101, time.Minute); !errors.Is(err, ErrTooLarge) {
			t.Errorf("more than there is: %v", err)
		}
		if err := m.take(t.Context(), 100, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := m.take(t.Context(), 1, 0); !errors.Is(err, ErrBufferFull) {
			t.Errorf("without waiting: %v", err)
		}
		begun := time.Now()
		if err := m.take(t.Context(), 1, time.Minute); !errors.Is(err, ErrBufferFull) || time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		if err := m.take(ctx, 1, time.Minute); !errors.Is(err, cause) {
			t.Errorf("context: %v", err)
		}
		time.AfterFunc(time.Second, m.close)
		if err := m.take(t.Context(), 1, time.Minute); !errors.Is(err, ErrClosed) {
			t.Errorf("close: %v", err)
		}
		if err := m.take(t.Context(), 1, time.Minute); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if m.give(100); m.available() != 100 {
			t.Errorf("%d of 100 are left", m.available())
		}
	})
}

// A large record that gives up must let the small ones behind it pass.
func TestMemoryGivingUpLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		if err := m.take(t.Context(), 60, 0); err != nil {
			t.Fatal(err)
		}
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- m.take(t.Context(), 90, time.Second) }()
		synctest.Wait()
		go func() { small <- m.take(t.Context(), 40, time.Hour) }()
		if err := <-large; !errors.Is(err, ErrBufferFull) {
			t.Error(err)
		}
		if err := <-small; err != nil {
			t.Error(err)
		}
		m.over(10)
		if m.available() != 0 {
			t.Error("what is in use beyond the bound is available")
		}
		m.give(10)
		m.give(100)
		if m.available() != 100 {
			t.Errorf("%d of 100", m.available())
		}
	})
}

// The hook comes once, and again only after the buffer has recovered.
func TestBufferLowIsToldOnce(t *testing.T) {
	m, told := newMemory(100), 0
	m.onLow = func() { told++ }
	for _, step := range []struct{ take, give, want int64 }{
		{take: 80, want: 0}, {take: 1, want: 1}, {take: 5, want: 1}, // 14 left
		{give: 20, want: 1}, {take: 30, want: 1}, // 4 left; 34 were not enough
		{give: 36, want: 1}, {take: 25, want: 2}, // 40 were
	} {
		if step.take > 0 {
			if err := m.take(t.Context(), step.take, 0); err != nil {
				t.Fatal(err)
			}
		}
		m.give(step.give)
		if told != int(step.want) {
			t.Errorf("after %+v (%d left) told %d times", step, m.free, told)
		}
	}
}

// The machine must look when somebody begins to wait: what lingers makes room.
func TestMemoryTellsOfWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := 0
		cfg := Config{BufferMemory: 100}
		m := newAccumulator(&cfg, func() { woken++ }).mem
		if err := m.take(t.Context(), 100, time.Minute); err != nil || woken != 0 {
			t.Fatalf("%v, woken %d times", err, woken)
		}
		go func() { _ = m.take(t.Context(), 1, time.Minute) }()
		synctest.Wait()
		if woken != 1 {
			t.Errorf("woken %d times, want once", woken)
		}
		m.give(100)
		synctest.Wait()
	})
}
