package main

import (
	"errors"
	"flag"
	"strings"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

// connection are the flags that say how to reach a cluster, the same for every command
// that does. A password is never a flag: others on the machine see those.
type connection struct {
	brokers         string
	tls             bool
	ca, cert, key   string
	mechanism, user string
	passwordFile    string
	withoutTLS      bool
}

// passwordVariable is the environment variable with the password of SASL, or the token
// of OAUTHBEARER, if no file is named.
const passwordVariable = "LEAT_PASSWORD"

// flags defines the flags.
func (c *connection) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.brokers, "brokers", "", "bootstrap `addresses`, comma separated (required)")
	fs.BoolVar(&c.tls, "tls", false, "connect over TLS (implied by the other -tls flags)")
	fs.StringVar(&c.ca, "tls-ca", "", "PEM `file` with the authorities of the brokers' certificates (default: the system's)")
	fs.StringVar(&c.cert, "tls-cert", "", "PEM `file` with the client certificate, for mTLS")
	fs.StringVar(&c.key, "tls-key", "", "PEM `file` with its key")
	fs.StringVar(&c.mechanism, "sasl", "", "SASL `mechanism`: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
	fs.StringVar(&c.user, "user", "", "`name` for SASL")
	fs.StringVar(&c.passwordFile, "password-file", "", "`file` with the password, or the token of OAUTHBEARER (default: the environment variable "+passwordVariable+")")
	fs.BoolVar(&c.withoutTLS, "allow-without-tls", false, "let PLAIN and OAUTHBEARER show their credentials to whoever listens")
}

// config is what the flags say, checked.
func (c *connection) config(clientID string) (cluster.Config, error) {
	out := cluster.Config{Brokers: strings.Split(c.brokers, ","), ClientID: clientID}
	if c.tls || c.ca != "" || c.cert != "" || c.key != "" {
		t, err := kafka.TLSFiles(c.ca, c.cert, c.key)
		if err != nil {
			return out, err
		}
		out.TLS = t
	}
	secret := kafka.SecretEnv(passwordVariable)
	if c.passwordFile != "" {
		secret = kafka.SecretFile(c.passwordFile)
	}
	switch {
	case c.mechanism == "OAUTHBEARER":
		out.SASL = kafka.SASL{Mechanism: c.mechanism, Token: kafka.TokenOf(secret), AllowWithoutTLS: c.withoutTLS}
	case c.mechanism != "":
		out.SASL = kafka.SASL{Mechanism: c.mechanism, User: c.user, Password: secret, AllowWithoutTLS: c.withoutTLS}
	case c.user != "" || c.passwordFile != "":
		return out, errors.New("--user and --password-file need --sasl")
	}
	return out, errors.Join(out.Mistakes()...)
}
