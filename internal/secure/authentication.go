package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// AuthenticationError says why a broker and we do not accept each other: TLS or SASL.
// Waiting does not help: somebody has to change something.
type AuthenticationError struct {
	// Broker is the address, host:port.
	Broker string
	// Problem says what is wrong and what to do.
	Problem string
	// Err is the cause, nil if there is none beside Problem.
	Err error
}

// Error says what is wrong and what to do.
func (e *AuthenticationError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("broker %s: %s", e.Broker, e.Problem)
	}
	return fmt.Sprintf("broker %s: %s: %v", e.Broker, e.Problem, e.Err)
}

// Unwrap returns the cause.
func (e *AuthenticationError) Unwrap() error { return e.Err }

// HandshakeFailed explains an error of a TLS handshake. One that may pass comes back
// as it is.
func HandshakeFailed(err error, broker string, c *tls.Config) error {
	problem := handshakeProblem(err, c)
	if _, explained := errors.AsType[*AuthenticationError](err); problem == "" || explained {
		return err
	}
	return &AuthenticationError{Broker: broker, Problem: problem, Err: err}
}

func handshakeProblem(err error, c *tls.Config) string {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return fmt.Sprintf("its certificate is not valid now (from %s to %s); renew it, or correct this machine's clock",
				e.Cert.NotBefore.UTC().Format(time.RFC3339), e.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
		return "its certificate cannot be used for a server"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("its certificate is for %s, not for %s; use a name of the certificate in Brokers and in advertised.listeners, or set TLS.ServerName",
			names(e.Certificate), e.Host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is not from an authority that we trust; give the authority's certificate in TLS.RootCAs (kafka.TLSFiles)"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS here; use the port of its TLS listener, or leave TLS nil"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" && e.Err != nil {
		return alertProblem(strings.TrimPrefix(e.Err.Error(), "tls: "), c)
	}
	return ""
}

// alertProblem explains an alert of the broker (RFC 8446, section 6), if it stays until
// somebody changes something. crypto/tls gives its text only.
func alertProblem(alert string, c *tls.Config) string {
	has := c != nil && (len(c.Certificates) > 0 || c.GetClientCertificate != nil)
	switch alert {
	case "protocol version not supported":
		return "it offers no version of TLS that we accept (1.2 or later); enable TLSv1.2 or TLSv1.3 in its ssl.enabled.protocols"
	case "handshake failure":
		if has {
			return "it and we have no cipher in common, or it does not accept our client certificate"
		}
		return "it and we have no cipher in common, or it wants a client certificate; give one in TLS.Certificates (kafka.TLSFiles)"
	case "certificate required", "bad certificate", "unknown certificate", "unknown certificate authority", "unsupported certificate",
		"revoked certificate", "expired certificate", "access denied":
		if !has {
			return clientCertificate
		}
		return "it does not accept our client certificate, which must be valid and from an authority in its ssl.truststore; check TLS.Certificates (kafka.TLSFiles)"
	}
	return ""
}

const clientCertificate = "it wants a client certificate; give one in TLS.Certificates (kafka.TLSFiles)"

// CertificateWanted is the error of a connection that was closed after its broker had
// asked for a client certificate and got none.
func CertificateWanted(broker string, err error) error {
	return &AuthenticationError{Broker: broker, Problem: clientCertificate, Err: err}
}

func names(c *x509.Certificate) string {
	var all []string
	all = append(all, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all, ", ")
}

// MechanismRefused explains a broker's answer to the choice of a mechanism.
func (s SASL) MechanismRefused(code sarama.KError, broker string, offered []string) error {
	problem := fmt.Sprintf("its listener does not offer SASL %s", s.Mechanism)
	switch {
	case code == sarama.ErrIllegalSASLState:
		problem = "its listener wants no SASL; use the port of a SASL listener, or leave SASL empty"
	case len(offered) > 0:
		problem += ", it offers " + strings.Join(offered, ", ")
	}
	return &AuthenticationError{Broker: broker, Problem: problem, Err: code}
}

// CredentialsRefused explains that a broker has refused the credentials.
func (s SASL) CredentialsRefused(broker string, err error) error {
	if _, explained := errors.AsType[*AuthenticationError](err); explained {
		return err
	}
	problem := fmt.Sprintf("SASL %s: user %q or the password is wrong", s.Mechanism, s.User)
	switch {
	case s.Mechanism == OAuthBearer:
		problem = "SASL OAUTHBEARER: the token is refused"
	case strings.HasPrefix(s.Mechanism, "SCRAM-"):
		problem += fmt.Sprintf(", or the user has no credentials for %s", s.Mechanism)
	}
	return &AuthenticationError{Broker: broker, Problem: problem, Err: err}
}

// Wanted is the error of a listener that wants SASL or TLS where we use none.
func Wanted(broker, what string) error { return &AuthenticationError{Broker: broker, Problem: what} }
