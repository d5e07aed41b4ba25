// Package cluster is what Leat's Kafka source and sink share: how to connect, and
// questions about topics, offsets and groups that sarama's high-level clients do
// not answer.
package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// Config says how to reach a cluster.
type Config struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientID is Kafka's client.id.
	ClientID string
	// TLS, if not nil, encrypts every connection.
	TLS *tls.Config
	// SASL, if its mechanism is not empty, authenticates every connection.
	SASL SASL
}

// SASL are the credentials of a connection.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
	Mechanism string
	User      string
	Password  string
	// Token provides the tokens of OAUTHBEARER.
	Token sarama.AccessTokenProvider
}

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
	switch c.SASL.Mechanism {
	case "":
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		if c.SASL.User == "" || c.SASL.Password == "" {
			bad = append(bad, fmt.Errorf("SASL: %s needs User and Password", c.SASL.Mechanism))
		}
	case sarama.SASLTypeOAuth:
		if c.SASL.Token == nil {
			bad = append(bad, errors.New("SASL: OAUTHBEARER needs Token"))
		}
	default:
		bad = append(bad, fmt.Errorf("SASL: mechanism %q is not known; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", c.SASL.Mechanism))
	}
	return bad
}

// Sarama returns a sarama configuration with what concerns connections set.
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
	if m := c.SASL.Mechanism; m != "" {
		s.Net.SASL.Enable = true
		s.Net.SASL.Mechanism = sarama.SASLMechanism(m)
		s.Net.SASL.User, s.Net.SASL.Password = c.SASL.User, c.SASL.Password
		s.Net.SASL.TokenProvider = c.SASL.Token
		if strings.HasPrefix(m, "SCRAM-") {
			s.Net.SASL.SCRAMClientGeneratorFunc = scramClient(m)
		}
	}
	return s
}
