package kafka_test

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest/pki"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// secured asks for credentials: one user by each mechanism.
func secured(t *testing.T, more ...kfake.Opt) embedded.Config {
	t.Helper()
	return embedded.Config{
		Topics: []embedded.Topic{topic("in", 1), topic("out", 1)},
		Options: append([]kfake.Opt{
			kfake.EnableSASL(), kfake.Superuser("PLAIN", "p", "secret"),
			kfake.Superuser("SCRAM-SHA-256", "s256", "secret"), kfake.Superuser("SCRAM-SHA-512", "s512", "secret"),
		}, more...),
	}
}

var asPlain = kgo.SASL(plain.Auth{User: "p", Pass: "secret"}.AsMechanism())

func TestSASL(t *testing.T) {
	t.Parallel()
	for _, s := range []kafka.SASL{
		{Mechanism: "PLAIN", User: "p", Password: kafka.SecretOf("secret"), AllowWithoutTLS: true},
		{Mechanism: "SCRAM-SHA-256", User: "s256", Password: kafka.SecretOf("secret")},
		{Mechanism: "SCRAM-SHA-512", User: "s512", Password: kafka.SecretOf("secret")},
	} {
		t.Run(s.Mechanism, func(t *testing.T) {
			t.Parallel()
			c := start(t, secured(t), asPlain)
			c.Produce(numbered("in", 0, 5)...)
			cfg := c.config()
			cfg.SASL = s
			noError(t, run(t, copying("copy"), cfg), "run")
			same(t, "out", values(c.ReadAll("out")), values(c.ReadAll("in")))

			cfg.SASL.Password = kafka.SecretOf("wrong")
			within(t, lookUpLimit, func() {
				wantError(t, run(t, copying("copy"), cfg), nil, "SASL")
			})
		})
	}
}

func TestCredentialsThatAreMissing(t *testing.T) {
	t.Parallel()
	c := start(t, secured(t), asPlain)
	within(t, lookUpLimit, func() { wantError(t, run(t, copying("copy"), c.config()), nil, "its listener wants SASL; set SASL") })
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, client := certificates(t)
	c := start(t, secured(t, kfake.TLS(server)), asPlain, kgo.DialTLSConfig(client))
	c.Produce(numbered("in", 0, 5)...)
	cfg := c.config()
	cfg.TLS, cfg.SASL = client, kafka.SASL{Mechanism: "PLAIN", User: "p", Password: kafka.SecretOf("secret")}
	noError(t, run(t, copying("copy"), cfg), "run")
	same(t, "out", values(c.ReadAll("out")), values(c.ReadAll("in")))

	cfg.TLS = nil
	within(t, lookUpLimit, func() { wantError(t, run(t, copying("copy"), cfg), nil, "TLS") })
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12} // does not know the authority
	within(t, lookUpLimit, func() { wantError(t, run(t, copying("copy"), cfg), nil, "TLS") })
}

// certificates makes an authority and its server.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca, err := pki.New("authority")
	noError(t, err, "authority")
	c, err := ca.Issue(pki.Subject{Name: "broker", Hosts: []string{"127.0.0.1"}})
	noError(t, err, "certificate")
	pair, err := c.Pair()
	noError(t, err, "certificate")
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()}
}

// turned is a broker that wants credentials again every 300 ms, and refuses them while
// refuse is set.
func turned(t *testing.T, refuse *atomic.Bool) (*cluster, kafka.SASL) {
	t.Helper()
	c := start(t, secured(t, kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "300"})), asPlain)
	c.fake.Fake().ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, refuse.Load()
	})
	return c, kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "s512", Password: kafka.SecretOf("secret")}
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*kafka.AuthenticationError](err); !ok || kafka.ClassOf(err) != kafka.Fatal {
		t.Errorf("error %v, of class %v", err, kafka.ClassOf(err))
	}
}

// Credentials that are refused in the midst of things end a pipeline, either kind.
func TestRefusedLaterEndsPipelines(t *testing.T) {
	t.Parallel()
	for name, delivery := range map[string]pipeline.Guarantee{"exactly once": pipeline.ExactlyOnce, "at least once": pipeline.AtLeastOnce} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refuse atomic.Bool
			c, sasl := turned(t, &refuse)
			cfg := c.config()
			cfg.SASL, cfg.UntilEnd, cfg.Delivery = sasl, false, delivery
			r := launch(t, copying("copy"), cfg)
			c.Produce(numbered("in", 0, 5)...)
			c.Await("the records", func() bool { return len(c.ReadAll("out")) == 5 })
			refuse.Store(true)
			within(t, lookUpLimit, func() { wantRefused(t, r.wait()) })
		})
	}
}

// A producer fails what it has, and goes on when it is let in again.
func TestRefusedLaterFailsSends(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "tx"} {
		t.Run("id "+id, func(t *testing.T) {
			t.Parallel()
			var refuse atomic.Bool
			c, sasl := turned(t, &refuse)
			p := c.producer(kafka.ProducerSettings{SASL: sasl, TransactionalID: id})
			send := func() (err error) {
				within(t, lookUpLimit, func() {
					if id == "" {
						_, err = p.SendSync(t.Context(), kafka.Record{Topic: "out", Value: []byte("v")})
						return
					}
					err = p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
						return tx.Send(t.Context(), kafka.Record{Topic: "out", Value: []byte("v")}, nil)
					})
				})
				return err
			}
			noError(t, send(), "send")
			refuse.Store(true)
			var refused error
			c.Await("a refusal", func() bool { refused = send(); return refused != nil })
			wantRefused(t, refused)
			wantRefused(t, send())
			refuse.Store(false)
			c.Await("the producer to go on", func() bool { return send() == nil })
		})
	}
}
