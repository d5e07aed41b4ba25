package send

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/recordbatch"
	"github.com/leat-stream/leat/internal/secure"
)

// within fails if f takes longer than it may, with slack for a busy machine.
func within(t *testing.T, what string, d time.Duration, f func() error) error {
	t.Helper()
	begun := time.Now()
	err := f()
	if took := time.Since(begun); took > d+3*time.Second {
		t.Errorf("%s took %v, not %v", what, took, d)
	}
	return err
}

// The network swallows everything in the middle of a transaction: every call ends
// in its time.
func TestBlackHole(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "out"})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID, cfg.BufferMemory, cfg.MaxBlock = "tx", 4000, 200*time.Millisecond
	cfg.RequestTimeout, cfg.DeliveryTimeout = 20*time.Second, 40*time.Second
	faults := &plan{}
	p := connect(t, cfg, faults)
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := &outcomes{}
	send(t, p, "out", o, "written")
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	faults.hole.Store(true)
	taken := 1
	for {
		err := within(t, "Send", cfg.MaxBlock, func() error {
			return p.Send(t.Context(), &Record{Topic: "out", Value: make([]byte, 500), Done: o})
		})
		if err != nil {
			if !errors.Is(err, ErrBufferFull) {
				t.Errorf("send into a full buffer: %v", err)
			}
			break
		}
		taken++
	}
	if st := p.Stats(); st.BufferAvailable >= 1000 || taken > 9 {
		t.Errorf("%d records were taken, %d bytes are available", taken, st.BufferAvailable)
	}
	short := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 200*time.Millisecond)
	}
	ctx, cancel := short()
	defer cancel()
	if err := within(t, "Commit", 200*time.Millisecond, func() error { return p.Commit(ctx) }); !errors.Is(err, ErrAbortable) {
		t.Errorf("commit: %v", err)
	}
	ctx, cancel = short()
	defer cancel()
	if err := within(t, "Abort", 200*time.Millisecond, func() error { return p.Abort(ctx) }); err == nil {
		t.Error("the abort succeeds")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_ = within(t, "Close", 100*time.Millisecond, func() error { return p.Close(ctx, 100*time.Millisecond) })
	if ctx.Err() != nil {
		t.Error("close did not end by itself")
	}
	o.failed(t, taken)
	noGoroutine(t)
}

// A commit whose EndTxn gets no answer is unknown at its deadline, and the next
// producer of the id settles it.
func TestUnknownCommit(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "out"})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID, cfg.RequestTimeout = "tx", 20*time.Second
	faults := &plan{}
	p := connect(t, cfg, faults)
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, p, "out", &outcomes{}, "unknown")
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	faults.hole.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := within(t, "Commit", 200*time.Millisecond, func() error { return p.Commit(ctx) })
	if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrAbortable) {
		t.Errorf("commit: %v", err)
	}
	if err := p.Begin(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Errorf("begin after that: %v", err)
	}
	second := connect(t, cfg, &plan{})
	if err := second.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, second, "out", &outcomes{}, "next")
	if err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := values(t, c, "out", 1); !slices.Equal(got, []string{"next"}) {
		t.Errorf("visible: %v", got)
	}
}

// Nobody answers from the start.
func TestNewEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts, and nobody reads
	cfg := testConfig([]string{l.Addr().String()})
	cfg.DialTimeout, cfg.RequestTimeout = 20*time.Second, 20*time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := within(t, "New", 200*time.Millisecond, func() error { _, err := New(ctx, cfg); return err }); err == nil {
		t.Error("a producer without a broker")
	}
	noGoroutine(t)
}

// Closing with batches under way gives each record its outcome.
func TestCloseWithBatchesUnderWay(t *testing.T) {
	c := start(t, 2, embedded.Topic{Name: "out", Partitions: 4})
	cfg := testConfig(c.Brokers())
	cfg.RequestTimeout = 20 * time.Second
	faults := &plan{}
	p := connect(t, cfg, faults)
	o := &outcomes{}
	send(t, p, "out", o, numbered("a", 20)...)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	faults.hole.Store(true)
	send(t, p, "out", o, numbered("b", 200)...)
	if err := within(t, "Close", 0, func() error { return p.Close(t.Context(), 0) }); err != nil {
		t.Error(err)
	}
	for _, err := range o.failed(t, 220) {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if err := p.Send(t.Context(), &Record{Topic: "out"}); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
	if st := p.Stats(); st.BufferAvailable != st.BufferTotal {
		t.Errorf("%d of %d bytes are back", st.BufferAvailable, st.BufferTotal)
	}
	noGoroutine(t)
}

// A connection that has failed answers every request until it is released: the
// machine may not know yet.
func TestFailedConnectionRefuses(t *testing.T) {
	for _, without := range []rule{0, ruleReleased} {
		cfg := testConfig([]string{"127.0.0.1:1"}) // refuses
		cfg.without = without
		l := newLoop()
		compressor, err := recordbatch.NewCompressor(recordbatch.None, DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		k := newKafka(&cfg, l, compressor, &sync.Pool{New: func() any { return new(wireBuffer) }}, nil)
		n := &node{addr: cfg.Brokers[0]}
		want, patience := true, 20*time.Second
		if without != 0 {
			want, patience = false, 100*time.Millisecond
		}
		wait := func() bool {
			for {
				l.mu.Lock()
				posted := len(l.posted)
				l.posted = nil
				l.mu.Unlock()
				if posted > 0 {
					return true
				}
				select {
				case <-l.wake:
				case <-time.After(patience):
					return false
				}
			}
		}
		k.produce(&request{node: n})
		first := wait()
		k.produce(&request{node: n})
		second := wait()
		if first != want || second != want {
			t.Errorf("without %b: answered %v and %v", without, first, second)
		}
		k.hangUp(n)
		k.close()
	}
}

func TestSASLAndTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	c, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "out"}},
		Options: []kfake.Opt{
			kfake.TLS(&tls.Config{Certificates: web.TLS.Certificates}), kfake.EnableSASL(), kfake.Superuser("PLAIN", "me", "secret"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := testConfig(c.Brokers())
	n := &cfg.Connection.Net
	n.TLS.Enable, n.TLS.Config = true, &tls.Config{RootCAs: pool}
	cfg.SASL = secure.SASL{Mechanism: secure.Plain, User: "me", Password: secure.SecretOf("secret")}
	cfg.TransactionalID = "tx"
	p := connect(t, cfg, &plan{})
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := &outcomes{}
	send(t, p, "out", o, "secret")
	if err := p.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if errs := o.failed(t, 1); len(errs) > 0 {
		t.Error(errs[0])
	}
}
