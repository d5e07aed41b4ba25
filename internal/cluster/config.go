// Package cluster is what Leat's Kafka source and sink share: how to connect, and
// questions about topics, offsets and groups that sarama's high-level clients do
// not answer.
package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// Config says how to reach a cluster.
type Config struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientID is Kafka's client.id.
	ClientID string
	// TLS, if not nil, encrypts every connection.
	TLS *tls.Config
	// AllowInsecureTLS permits TLS below version 1.2, or without a check of the
	// broker's certificate.
	AllowInsecureTLS bool
	// SASL, if its mechanism is not empty, authenticates every connection.
	SASL SASL
}

// SASL are the credentials of a connection.
type SASL = secure.SASL

// Mistakes returns what is wrong with the configuration.
func (c Config) Mistakes() (bad []error) {
	if len(c.Brokers) == 0 {
		bad = append(bad, errors.New("Brokers: no address; give at least one host:port"))
	}
	for _, b := range c.Brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			bad = append(bad, fmt.Errorf("Brokers: %q is not host:port", b))
		}
	}
	bad = append(bad, secure.TLSMistakes(c.TLS, c.AllowInsecureTLS)...)
	return append(bad, c.SASL.Mistakes(c.TLS != nil)...)
}

// Sarama returns a sarama configuration with what concerns connections set, but for
// SASL, which internal/wire sees to.
func (c Config) Sarama() *sarama.Config {
	s := sarama.NewConfig()
	s.Version = sarama.MaxVersion // requests are lowered to what the broker offers
	s.ClientID = c.ClientID
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.RefreshFrequency = time.Minute
	s.Net.DialTimeout = 5 * time.Second
	if c.TLS != nil {
		s.Net.TLS.Enable, s.Net.TLS.Config = true, c.TLS
	}
	return s
}
