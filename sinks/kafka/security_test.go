package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/embedded"
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

// certificates makes an authority that is its own server.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err, "key")
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	noError(t, err, "certificate")
	cert, err := x509.ParseCertificate(der)
	noError(t, err, "parse")
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}
