package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/checktest/pki"
)

func parseConnection(t *testing.T, args ...string) *connection {
	t.Helper()
	c, fs := &connection{}, flag.NewFlagSet("test", flag.ContinueOnError)
	c.flags(fs)
	if err := fs.Parse(append([]string{"-brokers", "a:1,b:2"}, args...)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectionFlags(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.New("ca")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.Issue(pki.Subject{Name: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Write(dir, "me"); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority, password := file("ca.crt", string(ca.PEM())), file("password", "from-file\n")
	t.Setenv(passwordVariable, "from-environment")

	c := parseConnection(t, "-tls-ca", authority, "-tls-cert", filepath.Join(dir, "me.crt"), "-tls-key", filepath.Join(dir, "me.key"), "-sasl", "SCRAM-SHA-512", "-user", "u", "-password-file", password)
	cfg, err := c.config("me")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.SASL.Password.Reveal(t.Context()); got != "from-file" || err != nil || cfg.SASL.User != "u" {
		t.Errorf("user %q, password %q: %v", cfg.SASL.User, got, err)
	}
	if cfg.TLS == nil || cfg.TLS.RootCAs == nil || cfg.TLS.GetClientCertificate == nil || len(cfg.Brokers) != 2 {
		t.Errorf("TLS %v, brokers %v", cfg.TLS, cfg.Brokers)
	}

	c = parseConnection(t, "-sasl", "PLAIN", "-user", "u", "-allow-without-tls")
	cfg, err = c.config("me")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.SASL.Password.Reveal(t.Context()); got != "from-environment" || err != nil {
		t.Errorf("password %q: %v", got, err)
	}
	if text := fmt.Sprintf("%+v %#v", cfg, c); strings.Contains(text, "from-") {
		t.Errorf("it prints the password: %s", text)
	}

	c = parseConnection(t, "-tls", "-sasl", "OAUTHBEARER")
	cfg, err = c.config("me")
	if err != nil {
		t.Fatal(err)
	}
	token, err := cfg.SASL.Token.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := token.Value.Reveal(t.Context()); got != "from-environment" || err != nil {
		t.Errorf("token %q: %v", got, err)
	}
}

func TestConnectionFlagsThatAreWrong(t *testing.T) {
	for says, args := range map[string][]string{
		"need --sasl":        {"-user", "u"},
		"AllowWithoutTLS":    {"-sasl", "PLAIN", "-user", "u"},
		"MAGIC":              {"-sasl", "MAGIC"},
		"needs User":         {"-sasl", "SCRAM-SHA-256"},
		"no such file":       {"-tls-ca", "/does/not/exist"},
		"certificate needs":  {"-tls-cert", "/does/not/exist"},
		"client certificate": {"-tls-cert", "/does/not/exist", "-tls-key", "/neither"},
	} {
		c := parseConnection(t, args...)
		if _, err := c.config("me"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: error %v, want one that says %q", args, err, says)
		}
	}
}
