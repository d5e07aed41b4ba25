//go:build real

package send

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// API keys of the requests that faults are aimed at.
const (
	keyProduce = 0
	keyEndTxn  = 26
)

// netConfig gives a request up soon, for the network delays many.
func netConfig(t *testing.T) Config {
	cfg := testConfig(clusterBrokers(t))
	cfg.RequestTimeout, cfg.DialTimeout, cfg.DeliveryTimeout = time.Second, time.Second, time.Minute
	cfg.TransactionTimeout = 50 * time.Second
	return cfg
}

// Answers are lost, requests are cut in the middle, and some reach the broker when
// nobody waits for them any more: nothing is lost, doubled or out of order, and
// nothing of an aborted transaction is visible.
func TestRealNetworkFaults(t *testing.T) {
	odds := func(key int16) (lose, half, late float64) {
		switch key {
		case keyProduce:
			return 0.01, 0.01, 0.01
		case keyEndTxn:
			return 0.06, 0.03, 0.12
		default:
			return 0.03, 0.03, 0.03
		}
	}
	for _, transactional := range []bool{false, true} {
		name, work := "idempotent", (*load).flood
		if transactional {
			name, work = "transactional", (*load).transact
		}
		t.Run(name, func(t *testing.T) {
			c := checktest.Dial(t, clusterBrokers(t))
			topic := freshName("send-net")
			c.CreateTopic(topic, 3, nil)
			n := newNetwork(t)
			cfg := netConfig(t)
			if transactional {
				cfg.TransactionalID = topic
			}
			d := newLoad(t, cfg, n.wrap, newLedger(topic, 3), 1)
			if transactional {
				d.group = topic
			}
			n.setOdds(odds)
			const wanted = 15 // of each kind
			stop := func(stop <-chan struct{}) error {
				err := work(d, stop)
				_ = d.p.Close(context.Background(), 0)
				n.settle() // what is late comes before the ledger is checked
				if transactional && err == nil {
					d.wrap = nil
					err = d.connect() // ends what is left open
				}
				return err
			}
			found := d.run(c, stop, func() {
				checktest.Await(t, "enough faults", 4*time.Minute, func() bool {
					n.mu.Lock()
					defer n.mu.Unlock()
					return min(n.count["lost"], n.count["halved"], n.count["late"]) >= wanted
				})
				n.setOdds(nil)
			})
			t.Logf("faults: %v", n.count)
			if !transactional && found.failed > 0 {
				t.Errorf("%d records failed: %v", found.failed, d.l.failures()[0])
			}
			if transactional {
				if got := c.Committed(topic, topic)[0]; got != int64(found.last) {
					t.Errorf("the group's position is that of transaction %d, the last visible one is %d", got, found.last)
				}
			}
		})
	}
}

func (n *network) setOdds(odds func(key int16) (lose, half, late float64)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.odds = odds
}

// versions are those of transactions. In version 2 the broker does what rule 3 does in
// version 1.
var versions = map[string]rule{"version 2": 0, "version 1": ruleEpochEach, "version 1 without rule 3": ruleEpochEach | ruleRaise}

// An EndTxn that comes late, after its retry was answered, must not end the next
// transaction (KAFKA-17754). Without rule 3 it does: that is shown, too, or the
// test would not notice.
func TestRealLateEndTxn(t *testing.T) {
	for _, first := range []fate{committed, aborted} { // how the transaction ends whose EndTxn is late
		for name, without := range versions {
			name = map[fate]string{committed: "commit, ", aborted: "abort, "}[first] + name
			t.Run(name, func(t *testing.T) {
				c := checktest.Dial(t, clusterBrokers(t))
				topic := freshName("send-late")
				c.CreateTopic(topic, 3, nil)
				n := newNetwork(t)
				cfg := netConfig(t)
				cfg.TransactionalID, cfg.without = topic, without
				d := newLoad(t, cfg, n.wrap, newLedger(topic, 3), 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()

				d.begin(ctx)
				d.flush()
				late := n.hold(keyEndTxn)
				if err := d.finish(ctx, first); err != nil {
					t.Fatal(err)
				}
				d.begin(ctx)
				d.flush()
				late.deliver(t)
				// The second transaction does the opposite: whatever the late
				// request does to it shows.
				second := committed + aborted - first
				err := d.finish(ctx, second)
				d.closeAndSettle(n)
				found := d.l.check(c)
				t.Logf("the second: %v; %v", err, found)
				harm := err != nil || found.wrong()
				switch {
				case without&ruleRaise != 0 && !harm:
					t.Error("the late request did no harm: the test would not notice it")
				case without&ruleRaise == 0 && harm:
					t.Errorf("the second: %v; %v", err, found)
				}
			})
		}
	}
}

// A batch of an aborted transaction that comes late must not become part of the
// next.
func TestRealLateProduce(t *testing.T) {
	for name, without := range versions {
		t.Run(name, func(t *testing.T) {
			c := checktest.Dial(t, clusterBrokers(t))
			topic := freshName("send-late")
			c.CreateTopic(topic, 1, nil)
			n := newNetwork(t)
			cfg := netConfig(t)
			cfg.TransactionalID, cfg.without = topic, without
			d := newLoad(t, cfg, n.wrap, newLedger(topic, 1), 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			d.begin(ctx)
			d.flush()
			late := n.hold(keyProduce)
			if err := d.send(0, len(d.l.txns)-1); err != nil {
				t.Fatal(err)
			}
			late.await(t, "sent", late.taken)
			if err := d.finish(ctx, aborted); err != nil {
				t.Fatal(err)
			}
			d.begin(ctx)
			// Without the rule the broker refuses what comes next, for the late
			// batch is missing before it.
			checktest.Await(t, "an answer of the broker", 20*time.Second, func() bool {
				return d.l.acknowledged()[0] > 12 || d.p.Stats().OutOfSequence > 0
			})
			late.deliver(t)
			err := d.finish(ctx, committed)
			d.closeAndSettle(n)
			found := d.l.check(c)
			t.Logf("the second: %v; %v", err, found)
			if (err != nil || found.wrong()) != (without&ruleRaise != 0) {
				t.Errorf("the second: %v; %v", err, found)
			}
		})
	}
}

// begin opens a transaction and sends some records.
func (d *load) begin(ctx context.Context) {
	d.t.Helper()
	if err := d.p.Begin(ctx); err != nil {
		d.t.Fatal(err)
	}
	txn := d.l.begin()
	for i := range 12 {
		if err := d.send(int32(i%len(d.l.parts)), txn); err != nil {
			d.t.Fatal(err)
		}
	}
}

// finish ends the transaction. What was never to be committed must not be visible
// even after an error; for a commit that failed, nothing is claimed.
func (d *load) finish(ctx context.Context, how fate) error {
	txn := len(d.l.txns) - 1
	if how == aborted {
		d.l.ended(txn, aborted)
		return d.p.Abort(ctx)
	}
	err := d.p.Commit(ctx)
	switch {
	case err == nil:
		d.l.ended(txn, committed)
	case errors.Is(err, ErrAbortable):
		d.l.ended(txn, aborted)
	}
	return err
}

// closeAndSettle closes the producer, has all that is late delivered, and has
// another producer end what is left open.
func (d *load) closeAndSettle(n *network) {
	d.t.Helper()
	if err := d.p.Close(context.Background(), 0); err != nil {
		d.t.Error(err)
	}
	n.settle()
	d.wrap = nil
	if err := d.connect(); err != nil {
		d.t.Fatal(err)
	}
}

// The network swallows everything: every call ends in its time, and the buffer is
// what is waited for.
func TestRealBlackHole(t *testing.T) {
	c := checktest.Dial(t, clusterBrokers(t))
	topic := freshName("send-hole")
	c.CreateTopic(topic, 3, nil)
	cfg := netConfig(t)
	cfg.TransactionalID, cfg.BufferMemory, cfg.MaxBlock = topic, 64<<10, 500*time.Millisecond
	cfg.RequestTimeout = 20 * time.Second
	faults := &plan{}
	d := newLoad(t, cfg, faults.wrap, newLedger(topic, 3), 1)
	if err := d.p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	txn := d.l.begin()
	if err := d.send(0, txn); err != nil {
		t.Fatal(err)
	}
	d.flush()
	faults.hole.Store(true)
	var err error
	for err == nil {
		err = within(t, "Send", cfg.MaxBlock, func() error { return d.send(0, txn) })
	}
	if !errors.Is(err, ErrBufferFull) {
		t.Errorf("send into a full buffer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := within(t, "Commit", time.Second, func() error { return d.p.Commit(ctx) }); !errors.Is(err, ErrAbortable) {
		t.Errorf("commit: %v", err)
	}
	d.l.ended(txn, aborted)
	closing, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := within(t, "Close", 0, func() error { return d.p.Close(closing, 0) }); err != nil {
		t.Errorf("close: %v", err)
	}
	d.wrap = nil
	if err := d.connect(); err != nil {
		t.Fatal(err)
	}
	if found := d.l.check(c); found.wrong() {
		t.Error(found)
	}
}
