package proxy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
)

// An EndTxn whose client has gone, and has retried with success meanwhile, arrives
// late: the cluster gets two.
func TestHeldEndTxnArrivesLate(t *testing.T) {
	b := newBench(t, 3, kfake.SeedTopics(1, "t"))
	ctx := within(t)
	cl := b.client(kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"))
	must(t, cl.BeginTransaction())
	must(t, cl.ProduceSync(ctx, &kgo.Record{Value: []byte("v")}).FirstErr())

	other := b.Hold(Match{APIKeys: []kmsg.Key{kmsg.EndTxn}, Where: TransactionalID("another")})
	hold := b.Hold(Match{APIKeys: []kmsg.Key{kmsg.EndTxn}, Where: TransactionalID("tx"), Count: 1})
	ended := background(func() error { return cl.EndTransaction(ctx, kgo.TryCommit) })
	must(t, hold.Wait(ctx, 1))
	if n := b.got(kmsg.EndTxn); n != 0 {
		t.Fatalf("the cluster has got %d EndTxn", n)
	}
	hold.Cut()
	must(t, hold.Abandoned(ctx))
	must(t, await(t, "the commit", ended))
	if n := b.got(kmsg.EndTxn); n != 1 {
		t.Fatalf("the cluster has got %d EndTxn, want the retry's alone", n)
	}
	answers, err := hold.Release(ctx)
	must(t, err)
	if n := b.got(kmsg.EndTxn); n != 2 {
		t.Errorf("the cluster has got %d EndTxn, want the late one, too", n)
	}
	if len(answers) != 1 {
		t.Fatalf("%d answers", len(answers))
	}
	if _, ok := answers[0].(*kmsg.EndTxnResponse); !ok {
		t.Errorf("the answer is %T", answers[0])
	}
	if hold.Hits() != 1 || other.Hits() != 0 {
		t.Errorf("hits %d and %d, want 1 and 0", hold.Hits(), other.Hits())
	}
	if got := b.values("t", 1, kgo.FetchIsolationLevel(kgo.ReadCommitted())); got[0] != "v" {
		t.Errorf("read %v", got)
	}
}

// While a request is held, what follows it on its connection waits, and then comes in
// order, and the client gets all answers.
func TestHoldKeepsOrder(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	hold := p.Hold(Match{SkipFirst: 1, Count: 1})
	c.send(1, 2, 3)
	must(t, hold.Wait(within(t), 1))
	c.wantAnswers(1)
	other := dial(t, p)
	other.send(7) // another connection is not held up
	other.wantAnswers(7)
	e.awaitArrived(t, 1, 7)
	c.send(4)
	checktest.Await(t, "what follows to be read", patience, func() bool { return p.held.Load() >= 2*int64(len(heartbeat(0))) })
	_, err := hold.Release(within(t))
	must(t, err)
	c.wantAnswers(2, 3, 4)
	e.awaitArrived(t, 1, 7, 2, 3, 4)
	c.send(5)
	c.wantAnswers(5)
	checktest.Await(t, "held bytes to be given back", patience, func() bool { return p.held.Load() == 0 })
}

// A client that gives up by itself is noticed although nothing is read from it but
// into memory; what it had sent arrives late, all of it.
func TestHeldRequestOfAClientThatGivesUp(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	hold := p.Hold(Match{Count: 1})
	c.send(1, 2)
	must(t, hold.Wait(within(t), 1))
	_ = c.Close()
	must(t, hold.Abandoned(within(t)))
	_, err := hold.Release(within(t))
	must(t, err)
	e.awaitArrived(t, 1, 2)
}

// Without Cut the released request belongs to a client that is there: Abandoned waits.
func TestAbandonedWaits(t *testing.T) {
	_, p := newEcho(t, Config{})
	c := dial(t, p)
	hold := p.Hold(Match{})
	c.send(1)
	must(t, hold.Wait(within(t), 1))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := hold.Abandoned(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Abandoned returned %v", err)
	}
	if _, err := hold.Release(within(t)); err != nil {
		t.Error(err)
	}
	c.wantAnswers(1)
}

// A request whose broker is gone cannot be delivered, and says so.
func TestHeldRequestIsLostWithItsBroker(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	hold := p.Hold(Match{})
	c.send(1)
	must(t, hold.Wait(within(t), 1))
	e.hangUp()
	c.wantCut()
	answers, err := hold.Release(within(t))
	if !errors.Is(err, ErrLost) || len(answers) != 1 || answers[0] != nil {
		t.Errorf("Release returned %v, %v; want ErrLost", answers, err)
	}
}

// More than MaxHeld is an error of the rule, whether one request exceeds it or what
// comes behind it.
func TestHoldIsBounded(t *testing.T) {
	for name, followers := range map[string]int{"the request": 0, "what follows it": 100} {
		t.Run(name, func(t *testing.T) {
			size := len(heartbeat(0))
			limit := size - 1
			if followers > 0 {
				limit = 10 * size
			}
			e, p := newEcho(t, Config{MaxHeld: int64(limit)})
			c := dial(t, p)
			hold := p.Hold(Match{})
			c.send(1)
			if followers > 0 {
				must(t, hold.Wait(within(t), 1)) // or they are read together with the first one
			}
			for range followers {
				if _, err := c.Write(heartbeat(2)); err != nil {
					break // cut already
				}
			}
			c.wantCut()
			if err := hold.Wait(within(t), 2); !errors.Is(err, ErrHeldTooMuch) {
				t.Errorf("Wait returned %v, want ErrHeldTooMuch", err)
			}
			checktest.Await(t, "held bytes to be given back", patience, func() bool { return p.held.Load() == 0 })
			if got := e.arrived(); len(got) > 0 {
				t.Errorf("arrived %v", got)
			}
		})
	}
}

// Closing the proxy discards what is held.
func TestCloseWhileHolding(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	hold := p.Hold(Match{})
	c.send(1)
	must(t, hold.Wait(within(t), 1))
	p.Close()
	c.wantCut()
	if _, err := hold.Release(within(t)); !errors.Is(err, ErrLost) {
		t.Errorf("Release returned %v, want ErrLost", err)
	}
	if got := e.arrived(); len(got) > 0 {
		t.Errorf("arrived %v", got)
	}
}

func TestDelay(t *testing.T) {
	e, p := newEcho(t, Config{})
	const d = 100 * time.Millisecond
	rule := p.Delay(Match{SkipFirst: 1, Count: 2}, d)
	c := dial(t, p)
	c.send(1)
	c.wantAnswers(1)
	began := time.Now()
	c.send(2)
	c.wantAnswers(2)
	if took := time.Since(began); took < d {
		t.Errorf("answered after %v, want %v or more", took, d)
	}
	c.send(3) // arrives although its client goes
	must(t, rule.Wait(within(t), 2))
	_ = c.Close()
	e.awaitArrived(t, 1, 2, 3)
}
