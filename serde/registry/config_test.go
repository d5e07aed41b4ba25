package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

func TestConfigValidateJoinsEverything(t *testing.T) {
	err := Config{
		URLs:     []string{"ftp://h", "http://", "http://a:s3cr3t@h/?q", "http://b:other@h", "http://[::1", ""},
		Password: "s3cr3t", Token: "t0ken", Timeout: -time.Second, MaxCached: -1, NegativeTTL: -2, Retries: -2, Backoff: pipeline.Backoff{Max: -1},
		TLS: &tls.Config{MinVersion: tls.VersionTLS12}, HTTPClient: &http.Client{Transport: http.DefaultTransport},
		TokenFunc: func(context.Context) (string, error) { return "t0ken", nil },
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	text := err.Error()
	for _, want := range []string{"URLs[0]", "URLs[1]", "URLs[2]", "URLs[3]", "URLs[4]", "URLs[5]", "Token", "Timeout", "MaxCached", "NegativeTTL", "Retries", "Backoff", "TLS and HTTPClient", "TokenFunc and", "need https"} {
		if !strings.Contains(text, want) {
			t.Errorf("does not mention %s: %s", want, text)
		}
	}
	for _, secret := range []string{"s3cr3t", "t0ken", "other"} {
		if strings.Contains(text, secret+"@") || strings.Contains(text, ":"+secret) || strings.Contains(text, "t0ken") {
			t.Errorf("shows %s: %s", secret, text)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "at least one") {
		t.Errorf("no URLs: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New accepts an invalid configuration")
	}
}

func TestConfigShowsNoSecret(t *testing.T) {
	c := Config{URLs: []string{"https://user:s3cr3t@h:8081/path"}, User: "user", Password: "s3cr3t", Token: "s3cr3t"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "s3cr3t") || !strings.Contains(s, "https://h:8081/path") {
			t.Errorf("%s: %s", format, s)
		}
	}
}

func FuzzConfigURL(f *testing.F) {
	for _, s := range []string{"http://h", "http://u:p4ss@h", "http://u:p4ss@[::1]:8081/x", "u:p4ss@h", "://p4ss", "http://u:p4ss@h?p4ss"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Config{URLs: []string{s}, AllowPlaintextCredentials: true}
		if err := c.Validate(); err != nil {
			return
		}
		client, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(client.cfg.URLs[0], "@") && !strings.Contains(strings.SplitN(s, "/", 4)[len(strings.SplitN(s, "/", 4))-1], "@") && strings.Count(s, "@") == 1 {
			t.Errorf("%q: credentials kept in the URL %q", s, client.cfg.URLs[0])
		}
	})
}

// Credentials leave the machine encrypted only, unless that is allowed.
func TestPlaintextCredentials(t *testing.T) {
	token := func(context.Context) (string, error) { return "t", nil }
	for url, refused := range map[string]bool{
		"http://registry.test:8081": true, "http://10.0.0.1": true, "http://127.0.0.1.test": true, "http://localhost.test": true, "http://[2001:db8::1]": true,
		"https://registry.test": false, "http://127.0.0.1:8081": false, "http://127.9.9.9": false, "http://[::1]:8081": false, "http://localhost:8081": false,
		"http://[::ffff:127.0.0.1]": false,
	} {
		for name, c := range map[string]Config{"user": {User: "u", Password: "p"}, "token": {Token: "t"}, "function": {TokenFunc: token}} {
			c.URLs = []string{"https://one.test", url}
			if err := c.Validate(); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "URLs[1]") {
				t.Errorf("%s, %s: %v", url, name, err)
			}
			c.AllowPlaintextCredentials = true
			if err := c.Validate(); err != nil {
				t.Errorf("%s, %s, allowed: %v", url, name, err)
			}
		}
		if err := (Config{URLs: []string{url}}).Validate(); err != nil {
			t.Errorf("%s without credentials: %v", url, err)
		}
	}
	if err := (Config{URLs: []string{"http://u:p@registry.test"}}).Validate(); err == nil {
		t.Error("credentials in a URL")
	}
}
