//go:build secure

package kafka_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// unsecured is a token that Kafka's test validator takes.
func unsecured(user string, life time.Duration) string {
	enc := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	return enc([]byte(`{"alg":"none"}`)) + "." + enc(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, user, now.Unix(), now.Add(life).Unix())) + "."
}

// asked counts how often tokens were asked for.
func asked(n *atomic.Int64, user string, life time.Duration) kafka.TokenSource {
	return kafka.TokenFunc(func(ctx context.Context) (kafka.Token, error) {
		n.Add(1)
		return kafka.Token{Value: kafka.SecretOf(unsecured(user, life)), Extensions: map[string]string{"traceId": "7"}}, ctx.Err()
	})
}

// Every mechanism carries a pipeline, of which each part connects by itself: the group,
// the fetcher, the producer, and the questions to the cluster.
func TestSecureMechanisms(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int64
	for name, m := range map[string]struct {
		listener, principal string
		sasl                func(*guarded) kafka.SASL
		cert                string
	}{
		"SCRAM-SHA-512": {listener: saslListener, sasl: func(g *guarded) kafka.SASL { return g.user }},
		"SCRAM-SHA-256": {listener: saslListener, sasl: func(g *guarded) kafka.SASL {
			g.CreateUser("SCRAM-SHA-256", g.id, "another")
			s := kafka.SASL{Mechanism: "SCRAM-SHA-256", User: g.id, Password: kafka.SecretOf("another")}
			g.Await("the broker to know the user", func() bool { return g.knows(s) })
			return s
		}},
		"SCRAM without TLS": {listener: openListener, sasl: func(g *guarded) kafka.SASL { g.tls = nil; return g.user }},
		"PLAIN": {listener: saslListener, principal: "User:plain", sasl: func(*guarded) kafka.SASL {
			return kafka.SASL{Mechanism: "PLAIN", User: "plain", Password: kafka.SecretOf("plain-secret")}
		}},
		"OAUTHBEARER": {listener: saslListener, sasl: func(g *guarded) kafka.SASL {
			return kafka.SASL{Mechanism: "OAUTHBEARER", Token: asked(&tokens, g.id, time.Hour)}
		}},
		"mTLS": {listener: mtlsListener, principal: "User:CN=client", cert: "client", sasl: func(*guarded) kafka.SASL { return kafka.SASL{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := guard(t)
			cfg := g.config()
			cfg.SASL, cfg.TLS = m.sasl(g), g.tls
			cfg.Brokers = []string{listenerOf(t, m.listener)}
			if m.cert != "" {
				var err error
				cfg.TLS, err = kafka.TLSFiles(pem(t, "ca.crt"), pem(t, m.cert+".crt"), pem(t, m.cert+".key"))
				noError(t, err, "TLS")
			}
			principal := m.principal
			if principal == "" {
				principal = g.principal()
			}
			granted := rights(t, tasks["pipeline, exactly once"].rights(g)...)
			g.Grant(principal, granted...)
			defer g.Revoke(principal, granted...)
			g.Produce(text(g.in, "a", "good"), text(g.in, "b", "bad"))
			noError(t, kafka.Run(t.Context(), g.pipeline(), cfg), "run")
			same(t, "out", values(g.ReadAll(g.out)), []string{"good"})
			same(t, "dead letters", values(g.ReadAll(g.dead)), []string{"bad"})
		})
	}
	t.Cleanup(func() {
		if n := tokens.Load(); n < 4 {
			t.Errorf("tokens were asked for %d times, want it for each connection", n)
		}
	})
}

// What is wrong with the connection ends both ends of Leat at the start, with an error
// that says what to change.
func TestSecureConnectionsThatAreRefused(t *testing.T) {
	t.Parallel()
	g := guard(t)
	files := func(ca, cert string) *tls.Config {
		key := ""
		if cert != "" {
			cert, key = pem(t, cert+".crt"), pem(t, cert+".key")
		}
		c, err := kafka.TLSFiles(pem(t, ca), cert, key)
		noError(t, err, "TLS")
		return c
	}
	trusting := files("ca.crt", "")
	with := func(change func(*kafka.SASL)) kafka.SASL {
		s := g.user
		change(&s)
		return s
	}
	localhost := func(name string) string { return strings.Replace(listenerOf(t, name), "127.0.0.1", "localhost", 1) }
	for name, c := range map[string]struct {
		broker string
		tls    *tls.Config
		sasl   kafka.SASL
		says   string
	}{
		"wrong password":     {listenerOf(t, saslListener), trusting, with(func(s *kafka.SASL) { s.Password = kafka.SecretOf("wrong") }), "password is wrong"},
		"unknown user":       {listenerOf(t, saslListener), trusting, with(func(s *kafka.SASL) { s.User = "nobody" }), `user "nobody" or the password is wrong`},
		"no SHA-256":         {listenerOf(t, saslListener), trusting, with(func(s *kafka.SASL) { s.Mechanism = "SCRAM-SHA-256" }), "no credentials for SCRAM-SHA-256"},
		"PLAIN, wrong":       {listenerOf(t, saslListener), trusting, kafka.SASL{Mechanism: "PLAIN", User: "plain", Password: kafka.SecretOf("wrong")}, "password is wrong"},
		"expired token":      {listenerOf(t, saslListener), trusting, kafka.SASL{Mechanism: "OAUTHBEARER", Token: asked(new(atomic.Int64), g.id, -time.Hour)}, "the token is refused"},
		"no SASL":            {listenerOf(t, saslListener), trusting, kafka.SASL{}, "its listener wants SASL; set SASL with one of its mechanisms, "},
		"no TLS":             {listenerOf(t, saslListener), nil, g.user, "its listener wants TLS"},
		"neither":            {listenerOf(t, saslListener), nil, kafka.SASL{}, "its listener wants TLS"},
		"TLS for nobody":     {listenerOf(t, openListener), trusting, g.user, "does not speak TLS here"},
		"SASL for nobody":    {listenerOf(t, mtlsListener), files("ca.crt", "client"), g.user, "its listener wants no SASL"},
		"unknown authority":  {listenerOf(t, saslListener), files("stranger-ca.crt", ""), g.user, "not from an authority that we trust"},
		"another name":       {localhost(saslListener), trusting, g.user, "its certificate is for 127.0.0.1, not for localhost"},
		"no certificate":     {listenerOf(t, mtlsListener), trusting, kafka.SASL{}, "it wants a client certificate"},
		"strange":            {listenerOf(t, mtlsListener), files("ca.crt", "stranger"), kafka.SASL{}, "client certificate"},
		"TLS with mTLS port": {listenerOf(t, mtlsListener), nil, kafka.SASL{}, "its listener wants TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, s := g.config(), g.settings()
			cfg.Brokers, cfg.TLS, cfg.SASL = []string{c.broker}, c.tls, c.sasl
			s.Brokers, s.TLS, s.SASL = cfg.Brokers, c.tls, c.sasl
			for who, err := range map[string]error{
				"run":      within2(t, func() error { return kafka.Run(t.Context(), g.pipeline(), cfg) }),
				"producer": within2(t, func() error { _, err := kafka.NewProducer(t.Context(), s); return err }),
			} {
				if e, ok := errors.AsType[*kafka.AuthenticationError](err); !ok || !strings.Contains(err.Error(), c.says) || e.Broker != c.broker {
					t.Errorf("%s: error %v, want one that says %q", who, err, c.says)
				}
				if kafka.ClassOf(err) != kafka.Fatal || strings.Contains(fmt.Sprint(err), "its-secret") {
					t.Errorf("%s: class %v: %v", who, kafka.ClassOf(err), err)
				}
				if who == "run" {
					t.Log(err)
				}
			}
		})
	}
}

// A broker that ends sessions after six seconds (KIP-368) is not noticed: neither by
// who writes and reads all the time nor by who pauses for longer than that.
func TestSecureSessionsAreRenewed(t *testing.T) {
	t.Parallel()
	for name, sasl := range map[string]func(*guarded) kafka.SASL{
		"SCRAM": func(g *guarded) kafka.SASL { return g.user },
		"PLAIN": func(*guarded) kafka.SASL {
			return kafka.SASL{Mechanism: "PLAIN", User: "plain", Password: kafka.SecretOf("plain-secret")}
		},
		"OAUTHBEARER": func(g *guarded) kafka.SASL {
			return kafka.SASL{Mechanism: "OAUTHBEARER", Token: asked(new(atomic.Int64), g.id, time.Hour)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := guard(t)
			principal := g.principal()
			if name == "PLAIN" {
				principal = "User:plain"
			}
			granted := rights(t, append(tasks["pipeline, exactly once"].rights(g), "WRITE on topic "+g.in, "READ on topic "+g.table)...)
			g.Grant(principal, granted...)
			defer g.Revoke(principal, granted...)
			var log syncBuffer
			var stats pipeline.Stats
			cfg := g.config()
			cfg.Brokers, cfg.SASL, cfg.UntilEnd, cfg.Stats, cfg.Logger = []string{listenerOf(t, shortListener)}, sasl(g), false, &stats, slog.New(slog.NewTextHandler(&log, nil))
			live := launch(t, g.joining(), cfg)
			s := g.settings()
			s.Brokers, s.SASL = cfg.Brokers, cfg.SASL
			s.Producer.BatchSize, s.Producer.Linger, s.MaxPending = 1, kafka.NoLinger, 100 // there is always something under way, and never much
			p, err := kafka.NewProducer(t.Context(), s)
			noError(t, err, "producer")
			n := 0
			write := func() {
				n++
				noError(t, p.Send(t.Context(), kafka.Record{Topic: g.in, Value: fmt.Append(nil, n)}, nil), "send")
			}
			for until := time.Now().Add(6 * time.Second); time.Now().Before(until); {
				write()
			}
			time.Sleep(7 * time.Second) // longer than a session: it is the broker's clock that has to go on
			write()
			noError(t, p.Flush(t.Context()), "flush")
			m := p.Metrics()
			noError(t, p.Close(t.Context()), "close")
			g.Await("all to be copied", func() bool { return stats.Snapshot().Committed == int64(n) })
			live.stop()
			checkOnce(t, values(g.ReadAll(g.out)), n)
			if m.Retries != 0 || m.Disconnects != 0 || stats.Snapshot().Aborts != 0 {
				t.Errorf("%d retries, %d connections lost, %d aborts", m.Retries, m.Disconnects, stats.Snapshot().Aborts)
			}
			if text := log.String(); text != "" {
				t.Errorf("the pipeline has logged:\n%s", text)
			}
		})
	}
}

func checkOnce(t *testing.T, got []string, n int) {
	t.Helper()
	times := map[string]int{}
	for _, v := range got {
		times[v]++
	}
	for i := 1; i <= n; i++ {
		if c := times[fmt.Sprint(i)]; c != 1 {
			t.Fatalf("record %d of %d is there %d times", i, n, c)
		}
	}
}

// A password that is changed serves from the next connection on.
func TestSecurePasswordFileIsReadAgain(t *testing.T) {
	t.Parallel()
	g := guard(t)
	g.Grant(g.principal(), right(t, "WRITE on topic "+g.out))
	path := filepath.Join(t.TempDir(), "password")
	noError(t, os.WriteFile(path, []byte("its-secret\n"), 0o600), "write")
	s := g.settings()
	s.SASL.Password = kafka.SecretFile(path)
	s.Brokers = []string{listenerOf(t, shortListener)}
	p, err := kafka.NewProducer(t.Context(), s)
	noError(t, err, "producer")
	defer p.Close(context.Background())
	send := func() error {
		_, err := p.SendSync(t.Context(), kafka.Record{Topic: g.out, Value: []byte("v")})
		return err
	}
	noError(t, send(), "with the first password")
	g.CreateUser("SCRAM-SHA-512", g.id, "another")
	other := g.user
	other.Password = kafka.SecretOf("another")
	g.Await("the broker to know the password", func() bool { return g.knows(other) })
	noError(t, os.WriteFile(path, []byte("another\n"), 0o600), "write")
	for until := time.Now().Add(7 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) { // longer than a session
		noError(t, send(), "with the second password")
	}

	noError(t, os.WriteFile(path, []byte("wrong\n"), 0o600), "write")
	var refused error
	g.Await("the wrong password to be noticed", func() bool { refused = send(); return refused != nil })
	if e, ok := errors.AsType[*kafka.AuthenticationError](refused); !ok || kafka.ClassOf(refused) != kafka.Fatal {
		t.Errorf("error %v (%v)", refused, e)
	}
	noError(t, os.WriteFile(path, []byte("another\n"), 0o600), "write")
	g.Await("the producer to go on", func() bool { return send() == nil })
}
