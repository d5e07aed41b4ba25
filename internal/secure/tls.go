package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLSMistakes returns what makes a configuration less than verified TLS 1.2. With
// allow, which the fields AllowInsecureTLS are, nothing does.
func TLSMistakes(c *tls.Config, allow bool) (bad []error) {
	if c == nil {
		if allow {
			bad = append(bad, errors.New("AllowInsecureTLS: there is no TLS; set TLS"))
		}
		return bad
	}
	if allow {
		return nil
	}
	if c.MinVersion != 0 && c.MinVersion < tls.VersionTLS12 {
		bad = append(bad, fmt.Errorf("TLS: MinVersion allows %s; use tls.VersionTLS12 or leave it 0, or set AllowInsecureTLS", tls.VersionName(c.MinVersion)))
	}
	if c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12 {
		bad = append(bad, fmt.Errorf("TLS: MaxVersion is %s; use tls.VersionTLS12 or later, or set AllowInsecureTLS", tls.VersionName(c.MaxVersion)))
	}
	if c.InsecureSkipVerify && c.VerifyConnection == nil && c.VerifyPeerCertificate == nil {
		bad = append(bad, errors.New("TLS: InsecureSkipVerify accepts anybody as the broker; give the authority in RootCAs (kafka.TLSFiles), verify by VerifyConnection, or set AllowInsecureTLS"))
	}
	return bad
}

// TLSFiles is the usual TLS configuration, from PEM files: version 1.2 or later, the
// broker's certificate verified against the authorities in ca, or against the system's
// if ca is empty; and, if cert and key are not empty, a client certificate, with those
// between it and its authority after it in the same file (mTLS).
//
// All files are read now, so that mistakes are found. The client certificate and its
// key are read again for each new connection: a renewed one serves from then on. The
// authorities are not: a change of them needs a new configuration.
func TLSFiles(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("TLS: authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("TLS: authorities: no certificate in %s; it must be PEM (-----BEGIN CERTIFICATE-----)", ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("TLS: a client certificate needs its key, and the key its certificate")
	}
	if cert == "" {
		return c, nil
	}
	own, err := clientPair(cert, key)
	if err != nil {
		return nil, err
	}
	if now := time.Now(); now.After(own.Leaf.NotAfter) || now.Before(own.Leaf.NotBefore) {
		return nil, fmt.Errorf("TLS: client certificate %s is not valid now (from %s to %s); renew it",
			cert, own.Leaf.NotBefore.UTC().Format(time.RFC3339), own.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return clientPair(cert, key) }
	return c, nil
}

func clientPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLS: client certificate %s with key %s: %w", cert, key, err)
	}
	return &pair, nil
}
