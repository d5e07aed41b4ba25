package send

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/secure"
)

// shortSessions is a broker that wants credentials again every 400 ms.
func shortSessions(t *testing.T) (Config, *embedded.Cluster) {
	t.Helper()
	c, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "out", Partitions: 4}},
		Options: []kfake.Opt{
			kfake.EnableSASL(), kfake.Superuser("PLAIN", "me", "secret"), kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "400"}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	cfg := testConfig(c.Brokers())
	cfg.SASL = secure.SASL{Mechanism: secure.Plain, User: "me", Password: secure.SecretOf("secret")}
	cfg.BatchSize = 1
	return cfg, c
}

// farConn is a connection over some distance, so that there is always something under
// way, to a broker that ends sessions, as kfake does not: after three times as long as
// it says, so that a busy machine is not too late.
type farConn struct {
	net.Conn
	login atomic.Int64 // unix ns
}

func (c *farConn) Write(p []byte) (int, error) {
	const handshake, authenticate = 17, 36
	key := uint16(0) // a produce request comes in parts
	if len(p) > 6 && int(binary.BigEndian.Uint32(p)) == len(p)-4 {
		key = binary.BigEndian.Uint16(p[4:])
	}
	switch {
	case key == authenticate:
		c.login.Store(time.Now().UnixNano())
	case key != handshake && c.login.Load() > 0 && time.Since(time.Unix(0, c.login.Load())) > 3*400*time.Millisecond:
		_ = c.Conn.Close()
	}
	return c.Conn.Write(p)
}

func (c *farConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(2 * time.Millisecond)
	return n, err
}

// produceFor sends for a time and returns the records that failed, and the counters.
func produceFor(t *testing.T, cfg Config, d time.Duration) (failed []error, st Stats) {
	t.Helper()
	p, err := newProducer(t.Context(), cfg, func(c net.Conn) net.Conn { return &farConn{Conn: c} })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background(), 0)
	o := &outcomes{}
	n := 0
	for until := time.Now().Add(d); time.Now().Before(until); n += 20 {
		send(t, p, "out", o, numbered("v", 20)...)
		checktest.Await(t, "what is queued to leave", 20*time.Second, func() bool { return p.Stats().QueuedRecords <= 100 })
	}
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return o.failed(t, n), p.Stats()
}

// A session is renewed in the midst of things, and nothing notices.
func TestSessionsAreRenewed(t *testing.T) {
	t.Parallel()
	cfg, _ := shortSessions(t)
	failed, st := produceFor(t, cfg, 2*time.Second)
	if len(failed) > 0 || st.Disconnects > 0 || st.Retries > 0 {
		t.Errorf("%d records failed (%v), %d connections were lost, %d retries", len(failed), failed, st.Disconnects, st.Retries)
	}
}

// Without that the broker closes connections, and what is under way is sent again.
func TestSessionsThatAreNotRenewed(t *testing.T) {
	t.Parallel()
	cfg, _ := shortSessions(t)
	cfg.without = ruleRenew
	failed, st := produceFor(t, cfg, 2*time.Second)
	if len(failed) > 0 || st.Disconnects == 0 || st.Retries == 0 {
		t.Errorf("%d records failed (%v), %d connections were lost, %d retries", len(failed), failed, st.Disconnects, st.Retries)
	}
}

// Credentials that are refused fail what waits for the connection, at once, and the
// producer goes on when they are right again.
func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	cfg, c := shortSessions(t)
	var refuse atomic.Bool
	c.Fake().ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, refuse.Load()
	})
	p := connect(t, cfg, &plan{})
	attempt := func() error {
		o := &outcomes{}
		send(t, p, "out", o, "v")
		ctx, cancel := context.WithTimeout(t.Context(), cfg.DeliveryTimeout/2)
		defer cancel()
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		return errors.Join(o.failed(t, 1)...)
	}
	if err := attempt(); err != nil {
		t.Fatal(err)
	}
	refuse.Store(true)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if err := attempt(); err != nil {
			if _, says := errors.AsType[*secure.AuthenticationError](err); !says {
				t.Errorf("it failed with %v", err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not matter that credentials are refused")
		}
	}
	refuse.Store(false)
	for attempt() != nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on with the right credentials")
		}
	}
}
