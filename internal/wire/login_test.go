package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest/pki"
	"github.com/leat-stream/leat/internal/secure"
)

func guarded(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := embedded.Start(embedded.Config{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.Brokers()[0]
}

// A broker that wants credentials again gets them, on the same connection, before the
// next question; to be late would end it.
func TestAskRenewsTheSession(t *testing.T) {
	for _, mechanism := range []string{secure.Plain, secure.ScramSHA256, secure.ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			addr := guarded(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "me", "secret"), kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "200"}))
			var logins, dials atomic.Int64
			cfg := config()
			cfg.Wrap = func(c net.Conn) net.Conn { dials.Add(1); return c }
			cfg.SASL = secure.SASL{Mechanism: mechanism, User: "me", Password: secure.SecretFunc(func(context.Context) (string, error) {
				logins.Add(1)
				return "secret", nil
			})}
			w, err := cfg.Open(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			for deadline := time.Now().Add(10 * time.Second); logins.Load() < 3 && time.Now().Before(deadline); {
				if err := w.Ask(t.Context(), metadata); err != nil {
					t.Fatal(err)
				}
			}
			if logins.Load() < 3 || dials.Load() != 1 {
				t.Errorf("%d logins on %d connections", logins.Load(), dials.Load())
			}
		})
	}
}

// Whoever waits for a token waits no longer than its context.
func TestTokensEndWithTheContext(t *testing.T) {
	addr := guarded(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "me", "secret"))
	cfg := config()
	cfg.SASL = secure.SASL{Mechanism: secure.OAuthBearer, Token: secure.TokenFunc(func(ctx context.Context) (secure.Token, error) {
		<-ctx.Done()
		return secure.Token{}, ctx.Err()
	})}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := cfg.Open(ctx, addr); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// secured listens with TLS and hangs up on whoever comes through.
func secured(t *testing.T, c *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// What crypto/tls says is explained, and stays within reach.
func TestHandshakesThatFail(t *testing.T) {
	ca, err := pki.New("ca")
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.New("other")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *pki.Authority, s pki.Subject) tls.Certificate {
		c, err := a.Issue(s)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := c.Pair()
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	here := []string{"127.0.0.1"}
	good := issue(ca, pki.Subject{Name: "broker", Hosts: here})
	for name, c := range map[string]struct {
		server *tls.Config
		client *tls.Config
		says   string
	}{
		"expired": {
			&tls.Config{Certificates: []tls.Certificate{issue(ca, pki.Subject{Hosts: here, Age: 2 * time.Hour, Life: time.Hour})}},
			&tls.Config{RootCAs: ca.Pool()}, "its certificate is not valid now (from ",
		},
		"not yet": {
			&tls.Config{Certificates: []tls.Certificate{issue(ca, pki.Subject{Hosts: here, Age: -time.Hour, Life: time.Hour})}},
			&tls.Config{RootCAs: ca.Pool()}, "correct this machine's clock",
		},
		"unknown authority": {&tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{RootCAs: other.Pool()}, "not from an authority that we trust"},
		"another name": {
			&tls.Config{Certificates: []tls.Certificate{issue(ca, pki.Subject{Hosts: []string{"kafka.example"}})}},
			&tls.Config{RootCAs: ca.Pool()}, "its certificate is for kafka.example, not for 127.0.0.1",
		},
		"old": {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13}, "no version of TLS that we accept"},
		"client certificate": {
			&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()},
			&tls.Config{RootCAs: ca.Pool()}, "it wants a client certificate",
		},
		"client certificate, TLS 1.2": {
			&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(), MaxVersion: tls.VersionTLS12},
			&tls.Config{RootCAs: ca.Pool()}, "it wants a client certificate",
		},
		"client certificate, and the alert is lost": {
			&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequestClientCert},
			&tls.Config{RootCAs: ca.Pool()}, "it wants a client certificate",
		},
		"strange client certificate": {
			&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()},
			&tls.Config{RootCAs: ca.Pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				c := issue(other, pki.Subject{Name: "me"})
				return &c, nil
			}}, "it does not accept our client certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := secured(t, c.server)
			cfg := config()
			cfg.Connection.Net.TLS.Enable, cfg.Connection.Net.TLS.Config = true, c.client
			_, err := cfg.Open(t.Context(), addr)
			if !secure.Refused(err) { // the broker's alert may be lost: who asks finds out
				err = cfg.Diagnose(t.Context(), addr)
			}
			if e, ok := errors.AsType[*secure.AuthenticationError](err); !ok || !strings.Contains(err.Error(), c.says) || e.Broker != addr {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// A broker that just goes away is no reason to change anything.
func TestHangingUpIsNoRefusal(t *testing.T) {
	ca, err := pki.New("ca")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.Issue(pki.Subject{Name: "broker", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := c.Pair()
	if err != nil {
		t.Fatal(err)
	}
	addr := secured(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert})
	cfg := config()
	cfg.Connection.Net.TLS.Enable, cfg.Connection.Net.TLS.Config = true, &tls.Config{RootCAs: ca.Pool()}
	if _, err := cfg.Open(t.Context(), addr); err == nil || secure.Refused(err) {
		t.Errorf("error %v", err)
	}
}
