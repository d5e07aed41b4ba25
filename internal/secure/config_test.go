package secure_test

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest/pki"
	"github.com/leat-stream/leat/internal/secure"
)

func TestSASLMistakes(t *testing.T) {
	p := secure.SecretOf("p")
	source := secure.TokenOf(p)
	for _, c := range []struct {
		sasl      secure.SASL
		encrypted bool
		says      string // "" for none
	}{
		{secure.SASL{}, false, ""},
		{secure.SASL{User: "u"}, true, "no Mechanism"},
		{secure.SASL{Mechanism: secure.Plain, User: "u", Password: p}, true, ""},
		{secure.SASL{Mechanism: secure.Plain, User: "u", Password: p}, false, "AllowWithoutTLS"},
		{secure.SASL{Mechanism: secure.Plain, User: "u", Password: p, AllowWithoutTLS: true}, false, ""},
		{secure.SASL{Mechanism: secure.OAuthBearer, Token: source}, true, ""},
		{secure.SASL{Mechanism: secure.OAuthBearer, Token: source}, false, "AllowWithoutTLS"},
		{secure.SASL{Mechanism: secure.OAuthBearer, User: "u", Password: p}, true, "needs Token"},
		{secure.SASL{Mechanism: secure.ScramSHA256, User: "u", Password: p}, false, ""},
		{secure.SASL{Mechanism: secure.ScramSHA512, User: "u"}, true, "needs User and Password"},
		{secure.SASL{Mechanism: "GSSAPI"}, true, "GSSAPI"},
	} {
		bad := c.sasl.Mistakes(c.encrypted)
		if (c.says == "") != (len(bad) == 0) || c.says != "" && !strings.Contains(bad[0].Error(), c.says) {
			t.Errorf("%+v, encrypted %v: %v", c.sasl, c.encrypted, bad)
		}
	}
}

func TestTLSMistakes(t *testing.T) {
	verify := func(tls.ConnectionState) error { return nil }
	for _, c := range []struct {
		tls  *tls.Config
		says string
	}{
		{nil, ""},
		{&tls.Config{}, ""},
		{&tls.Config{MinVersion: tls.VersionTLS13}, ""},
		{&tls.Config{MinVersion: tls.VersionTLS11}, "MinVersion allows TLS 1.1"},
		{&tls.Config{MaxVersion: tls.VersionTLS10}, "MaxVersion is TLS 1.0"},
		{&tls.Config{InsecureSkipVerify: true}, "InsecureSkipVerify"},
		{&tls.Config{InsecureSkipVerify: true, VerifyConnection: verify}, ""},
	} {
		bad := secure.TLSMistakes(c.tls, false)
		if (c.says == "") != (len(bad) == 0) || c.says != "" && !strings.Contains(bad[0].Error(), c.says) {
			t.Errorf("%+v: %v", c.tls, bad)
		}
		if bad := secure.TLSMistakes(c.tls, true); (len(bad) == 0) != (c.tls != nil) {
			t.Errorf("allowed: %v", bad)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, err := pki.New("ca")
	must(err)
	must(os.WriteFile(at("ca.crt"), ca.PEM(), 0o600))
	issue := func(name string, s pki.Subject) {
		c, err := ca.Issue(s)
		must(err)
		must(c.Write(dir, name))
	}
	issue("me", pki.Subject{Name: "first"})
	issue("old", pki.Subject{Name: "old", Age: 2 * time.Hour, Life: time.Hour})

	c, err := secure.TLSFiles(at("ca.crt"), at("me.crt"), at("me.key"))
	must(err)
	if bad := secure.TLSMistakes(c, false); len(bad) > 0 || c.RootCAs == nil || c.MinVersion < tls.VersionTLS12 {
		t.Errorf("%+v: %v", c, bad)
	}
	name := func() string {
		t.Helper()
		own, err := c.GetClientCertificate(nil)
		must(err)
		return own.Leaf.Subject.CommonName
	}
	if got := name(); got != "first" {
		t.Errorf("the certificate of %q", got)
	}
	issue("me", pki.Subject{Name: "second"}) // renewed
	if got := name(); got != "second" {
		t.Errorf("after a renewal the certificate of %q", got)
	}
	if c, err := secure.TLSFiles("", "", ""); err != nil || c.RootCAs != nil || c.GetClientCertificate != nil {
		t.Errorf("the system's authorities: %+v, %v", c, err)
	}
	for says, f := range map[string][3]string{
		"no such file":      {at("none"), "", ""},
		"no certificate in": {at("me.key"), "", ""},
		"needs its key":     {"", at("me.crt"), ""},
		"old.key":           {"", at("me.crt"), at("old.key")},
		"is not valid now":  {"", at("old.crt"), at("old.key")},
	} {
		if _, err := secure.TLSFiles(f[0], f[1], f[2]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: error %v, want one that says %q", f, err, says)
		}
	}
}

// What goes into the message of RFC 7628 must not be able to change it.
func TestTokens(t *testing.T) {
	begin := func(token secure.Token) (string, error) {
		x, err := secure.SASL{Mechanism: secure.OAuthBearer, Token: secure.TokenFunc(func(context.Context) (secure.Token, error) { return token, nil })}.Begin(t.Context())
		if err != nil {
			return "", err
		}
		return string(x.First()), nil
	}
	got, err := begin(secure.Token{Value: secure.SecretOf("abc"), Extensions: map[string]string{"b": "2", "a": "1"}})
	if want := "n,,\x01auth=Bearer abc\x01a=1\x01b=2\x01\x01"; got != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []secure.Token{
		{}, {Value: secure.SecretOf("a\x01b")},
		{Value: secure.SecretOf("a"), Extensions: map[string]string{"auth": "x"}},
		{Value: secure.SecretOf("a"), Extensions: map[string]string{"": "x"}},
		{Value: secure.SecretOf("a"), Extensions: map[string]string{"a=b": "x"}},
		{Value: secure.SecretOf("a"), Extensions: map[string]string{"a": "x\x01y"}},
	} {
		if got, err := begin(bad); err == nil {
			t.Errorf("%+v was taken: %q", bad.Extensions, got)
		}
	}
}
