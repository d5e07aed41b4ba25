package cluster

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// Set is a setting with its value as text. A secret's text says only that it is one.
func Set(name string, value any) pipeline.Setting {
	return pipeline.Setting{Name: name, Value: fmt.Sprint(value)}
}

// Settings are what is known of the connections, without secrets.
func (c Config) Settings() []pipeline.Setting {
	token := ""
	if c.SASL.Token != nil {
		token = "[secret]"
	}
	return []pipeline.Setting{
		Set("Brokers", strings.Join(c.Brokers, ", ")),
		Set("ClientID", c.ClientID),
		Set("TLS", describeTLS(c.TLS)),
		Set("AllowInsecureTLS", c.AllowInsecureTLS),
		Set("SASL.Mechanism", c.SASL.Mechanism),
		Set("SASL.User", c.SASL.User),
		Set("SASL.Password", c.SASL.Password),
		Set("SASL.Token", token),
		Set("SASL.AllowWithoutTLS", c.SASL.AllowWithoutTLS),
	}
}

// describeTLS says what a configuration is like. It is never printed itself: it holds
// private keys.
func describeTLS(c *tls.Config) string {
	if c == nil {
		return "none"
	}
	lowest := c.MinVersion
	if lowest == 0 {
		lowest = tls.VersionTLS12 // crypto/tls's for clients
	}
	text := tls.VersionName(lowest) + " or later"
	switch {
	case !c.InsecureSkipVerify:
		text += ", verifies the broker"
	case c.VerifyConnection != nil || c.VerifyPeerCertificate != nil:
		text += ", verifies the broker by a function"
	default:
		text += ", does not verify the broker"
	}
	if c.RootCAs != nil {
		text += " against authorities of its own"
	}
	if len(c.Certificates) > 0 || c.GetClientCertificate != nil {
		text += ", has a client certificate"
	}
	return text
}
