package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// certificate is one that signs itself.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// secured starts a server with TLS; what clients certify themselves with is up to clients.
func secured(t *testing.T, clients *x509.CertPool, h http.HandlerFunc) (s *httptest.Server, roots *x509.CertPool) {
	t.Helper()
	s = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports handshakes
	if clients != nil {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots
}

func TestMutualTLS(t *testing.T) {
	known, stranger := certificate(t), certificate(t)
	clients := x509.NewCertPool()
	clients.AddCert(known.Leaf)
	s, roots := secured(t, clients, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"schema":"\"int\""}`) })
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		class        string
	}{
		"known": {[]tls.Certificate{known}, "none"}, "none": {nil, "fatal"}, "stranger": {[]tls.Certificate{stranger}, "fatal"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client, err := New(Config{URLs: []string{s.URL}, TLS: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: version, RootCAs: roots, Certificates: tt.certificates}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.SchemaByID(t.Context(), 1)
			if class(err) != tt.class || err != nil && !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// Whoever can redirect a request must not get the credentials in clear.
func TestRedirectToPlaintext(t *testing.T) {
	var plain atomic.Int32
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain.Add(1)
		_, _ = io.WriteString(w, `{"schema":"\"int\""}`)
	}))
	defer to.Close()
	from, roots := secured(t, nil, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to.URL, http.StatusTemporaryRedirect)
	})
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	client, err := New(Config{URLs: []string{from.URL}, User: "u", Password: "s3cr3t", TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.SchemaByID(t.Context(), 1)
	if class(err) != "fatal" || !strings.Contains(err.Error(), "in clear") || plain.Load() != 0 {
		t.Errorf("%v, %d requests in clear", err, plain.Load())
	}
	if client, err = New(Config{URLs: []string{from.URL}, TLS: config}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SchemaByID(t.Context(), 1); err != nil || plain.Load() != 1 {
		t.Errorf("without credentials: %v", err)
	}
}
