package proxy

import (
	"errors"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// A black hole swallows requests; the connection is of no use afterwards, a new one is.
func TestBlackholeSwallowsRequests(t *testing.T) {
	e, p := newEcho(t, Config{})
	struck, spared := dial(t, p), dial(t, p)
	struck.send(1)
	struck.wantAnswers(1)
	spared.send(2)
	spared.wantAnswers(2)
	drop := p.Drop(Match{}) // does not see what is swallowed
	hole := p.Blackhole(1)
	struck.send(3)
	must(t, hole.Wait(within(t), 1))
	fresh := dial(t, p) // is accepted
	fresh.send(4)
	must(t, hole.Wait(within(t), 2))
	drop.Remove()
	hole.Remove()
	struck.wantCut()
	fresh.wantCut()
	spared.send(5)
	spared.wantAnswers(5)
	fresh = dial(t, p)
	fresh.send(6)
	fresh.wantAnswers(6)
	e.awaitArrived(t, 1, 2, 5, 6)
	if drop.Hits() != 0 {
		t.Errorf("another rule has struck %d times", drop.Hits())
	}
}

// It swallows answers, too.
func TestBlackholeSwallowsAnswers(t *testing.T) {
	e, p := newEcho(t, Config{})
	e.setMute(true)
	c := dial(t, p)
	c.send(1)
	e.awaitArrived(t, 1)
	hole := p.Blackhole()
	e.setMute(false)
	must(t, hole.Wait(within(t), 1))
	hole.Remove()
	c.wantCut()
}

// What latency has under way when the black hole opens is swallowed, too.
func TestBlackholeSwallowsWhatIsDelayed(t *testing.T) {
	e, p := newEcho(t, Config{})
	slow := p.Latency(100 * time.Millisecond)
	c := dial(t, p)
	c.send(1)
	must(t, slow.Wait(within(t), 1))
	hole := p.Blackhole()
	must(t, hole.Wait(within(t), 1))
	hole.Remove()
	c.wantCut()
	if got := e.arrived(); len(got) > 0 {
		t.Errorf("arrived %v", got)
	}
}

// An answer that is swallowed is not one that CutAfterApplied has waited for.
func TestCutAfterAppliedInABlackhole(t *testing.T) {
	e, p := newEcho(t, Config{})
	e.setMute(true)
	rule := p.CutAfterApplied(Match{Count: 1})
	c := dial(t, p)
	c.send(1)
	e.awaitArrived(t, 1)
	hole := p.Blackhole()
	e.setMute(false)
	must(t, hole.Wait(within(t), 1))
	hole.Remove()
	c.wantCut()
	if rule.Hits() != 0 {
		t.Errorf("%d hits", rule.Hits())
	}
	c = dial(t, p)
	c.send(2)
	c.wantCut()
	must(t, rule.Wait(within(t), 1))
}

// Between the end of the black hole and its cut a connection that lost bytes passes none:
// they would be taken for others.
func TestConnectionThatLostBytesPassesNone(t *testing.T) {
	_, p := newEcho(t, Config{})
	c := dial(t, p)
	c.send(1)
	c.wantAnswers(1)
	hole := p.Blackhole()
	inner := p.open(nil)[0]
	if !inner.swallows() {
		t.Error("the black hole swallows nothing")
	}
	p.mu.Lock()
	p.networks = nil
	p.apply()
	p.mu.Unlock()
	if !inner.swallows() {
		t.Error("bytes would pass")
	}
	hole.Remove()
	c.wantCut()
}

// Healing one of two black holes leaves the other.
func TestBlackholesOverlap(t *testing.T) {
	_, p := newEcho(t, Config{})
	c := dial(t, p)
	all, one := p.Blackhole(), p.Blackhole(1)
	c.send(1)
	must(t, one.Wait(within(t), 1))
	one.Remove()
	c.send(2)
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	var timeout net.Error
	if _, err := c.answer(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v, want nothing at all", err)
	}
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	all.Remove()
	c.wantCut()
}

// Blackhole of another broker does nothing here.
func TestFaultsOfOtherBrokers(t *testing.T) {
	_, p := newEcho(t, Config{})
	rules := []*Rule{p.Blackhole(2), p.Refuse(2), p.Rate(1, 2), p.Latency(math.MaxInt64, 2)}
	c := dial(t, p)
	c.send(1)
	c.wantAnswers(1)
	if n := p.Cut(2); n != 0 {
		t.Errorf("cut %d", n)
	}
	for _, r := range rules {
		if r.Hits() != 0 {
			t.Errorf("%d hits", r.Hits())
		}
	}
}

// Latency delays both ways, and does not make requests wait for each other; when it
// ends, what comes after does not overtake.
func TestLatency(t *testing.T) {
	e, p := newEcho(t, Config{})
	const d, n = 100 * time.Millisecond, 20
	rule := p.Latency(d, 1)
	c := dial(t, p)
	began := time.Now()
	var ids []int32
	for id := range int32(n) {
		ids = append(ids, id)
		c.send(id)
	}
	checktest.Await(t, "the requests to be under way", patience, func() bool { return rule.Hits() > 0 })
	rule.Remove()
	c.send(n)
	ids = append(ids, n)
	c.wantAnswers(ids...)
	e.awaitArrived(t, ids...)
	took := time.Since(began)
	if took < d {
		t.Errorf("took %v, want %v or more", took, d)
	}
	if took > n*d {
		t.Errorf("took %v: one after the other", took)
	}

	p.Latency(d)
	began = time.Now()
	c.send(n + 1)
	c.wantAnswers(n + 1)
	if took := time.Since(began); took < 2*d {
		t.Errorf("took %v, want %v or more", took, 2*d)
	}
}

// What a client has sent arrives, although it is delayed and the client is gone.
func TestLatencyOfAClientThatGoes(t *testing.T) {
	e, p := newEcho(t, Config{})
	p.Latency(50 * time.Millisecond)
	c := dial(t, p)
	c.send(1, 2, 3)
	_ = c.Close()
	e.awaitArrived(t, 1, 2, 3)
}

func TestRate(t *testing.T) {
	_, p := newEcho(t, Config{})
	size := len(heartbeat(0))
	rule := p.Rate(20 * size) // 10 requests in half a second
	c := dial(t, p)
	began := time.Now()
	for id := range int32(10) {
		c.send(id)
	}
	c.wantAnswers(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	// The last piece is written before its time is waited for.
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if rule.Hits() == 0 {
		t.Error("no hits")
	}
}

func TestRefuse(t *testing.T) {
	_, p := newEcho(t, Config{})
	open := dial(t, p)
	open.send(1)
	open.wantAnswers(1)
	rule := p.Refuse()
	if c, err := net.DialTimeout("tcp", p.Addr(1), patience); err == nil {
		must(t, c.SetDeadline(time.Now().Add(patience)))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
		_ = c.Close()
	}
	must(t, rule.Wait(within(t), 1))
	open.send(2)
	open.wantAnswers(2)
	rule.Remove()
	c := dial(t, p)
	c.send(3)
	c.wantAnswers(3)
}

func TestCut(t *testing.T) {
	_, p := newEcho(t, Config{})
	a, b := dial(t, p), dial(t, p)
	a.send(1)
	a.wantAnswers(1)
	b.send(2)
	b.wantAnswers(2)
	if n := p.Cut(1); n != 2 {
		t.Errorf("cut %d, want 2", n)
	}
	for _, c := range []rawClient{a, b} {
		if err := c.wantCut(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
	}
}
