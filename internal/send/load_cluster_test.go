//go:build real || three

package send

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// load writes to a topic while a test disturbs the cluster or the network.
type load struct {
	t     *testing.T
	cfg   Config
	wrap  func(net.Conn) net.Conn
	rnd   *rand.Rand
	l     *ledger
	p     *Producer
	group string // takes the number of each transaction as its position, if set
	anew  int    // producers after the first
}

func newLoad(t *testing.T, cfg Config, wrap func(net.Conn) net.Conn, l *ledger, seed uint64) *load {
	t.Helper()
	d := &load{t: t, cfg: cfg, wrap: wrap, rnd: rand.New(rand.NewPCG(seed, 1)), l: l}
	if err := d.connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.p.Close(context.Background(), 0) })
	return d
}

const connectWithin = time.Minute

func (d *load) connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	p, err := newProducer(ctx, d.cfg, d.wrap)
	if err != nil {
		return fmt.Errorf("new producer: %w", err)
	}
	d.p = p
	_, err = p.Partitions(ctx, d.l.topic)
	return err
}

// flood sends a few records to each partition every few milliseconds until stop
// is closed, and then waits for their outcomes.
func (d *load) flood(stop <-chan struct{}) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			ctx, cancel := context.WithTimeout(context.Background(), d.cfg.DeliveryTimeout)
			defer cancel()
			return d.p.Flush(ctx)
		}
		for part := range d.l.parts {
			for range 4 {
				if err := d.send(int32(part), -1); err != nil {
					return err
				}
			}
		}
	}
}

func (d *load) send(part int32, txn int) error {
	r := d.l.record(part, txn)
	err := d.p.Send(context.Background(), r)
	if err != nil {
		d.l.refused(r, err)
	}
	return err
}

// transact runs transactions, of which a quarter are aborted on purpose, until
// stop is closed. It ends in a new producer, so that nothing is left open.
func (d *load) transact(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			_ = d.p.Close(context.Background(), 0)
			return d.connect()
		default:
		}
		if usable := d.transaction(); usable {
			continue
		}
		d.anew++
		_ = d.p.Close(context.Background(), 0)
		if err := d.connect(); err != nil {
			return err
		}
	}
}

// endWithin bounds the calls that end a transaction.
const endWithin = 20 * time.Second

// transaction runs one, and reports whether the producer is of use after it.
func (d *load) transaction() bool {
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if err := d.p.Begin(ctx); err != nil {
		return false
	}
	txn := d.l.begin()
	var err error
	for range 1 + d.rnd.IntN(100) {
		if err = d.send(int32(d.rnd.IntN(len(d.l.parts))), txn); err != nil {
			break
		}
	}
	if err == nil && d.group != "" {
		err = sendOffsetOf(ctx, d.p, d.group, d.l.topic, int64(txn))
	}
	if err == nil && d.rnd.IntN(4) > 0 {
		if err = d.p.Commit(ctx); err == nil {
			d.l.ended(txn, committed)
			return true
		}
		if !errors.Is(err, ErrAbortable) {
			return false // committed or not: the ledger looks at whether it is whole
		}
	}
	// EndTxn was never sent with commit: nothing may be visible, whatever Abort says.
	d.l.ended(txn, aborted)
	again, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	return d.p.Abort(again) == nil
}

// run has f disturb while work runs, then stops the work and checks the ledger.
func (d *load) run(c *checktest.Client, work func(<-chan struct{}) error, f func()) *finding {
	d.t.Helper()
	stop, done := make(chan struct{}), make(chan error, 1)
	ended := false
	end := func() {
		if !ended {
			ended = true
			close(stop)
			if err := <-done; err != nil {
				d.t.Errorf("the load ended: %v", err)
			}
		}
	}
	defer end() // also when f fails the test
	go func() { done <- work(stop) }()
	f()
	end()
	found := d.l.check(c)
	d.t.Logf("%v; %d new producers; %+v", found, d.anew, d.p.Stats())
	if found.wrong() {
		d.t.Error(found)
	}
	return found
}

// burst sends n records to each partition.
func (d *load) burst(n int) {
	d.t.Helper()
	for range n {
		for part := range d.l.parts {
			if err := d.send(int32(part), -1); err != nil {
				d.t.Fatal(err)
			}
		}
	}
}

func (d *load) flush() {
	d.t.Helper()
	if err := d.p.Flush(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}
