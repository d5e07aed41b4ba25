package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConfigValidateJoinsEverything(t *testing.T) {
	err := Config{
		URLs:     []string{"ftp://h", "http://", "http://a:s3cr3t@h/?q", "http://b:other@h", "http://[::1", ""},
		Password: "s3cr3t", Token: "t0ken", Timeout: -time.Second, MaxCached: -1, NegativeTTL: -2,
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	text := err.Error()
	for _, want := range []string{"URLs[0]", "URLs[1]", "URLs[2]", "URLs[3]", "URLs[4]", "URLs[5]", "Token", "Timeout", "MaxCached", "NegativeTTL"} {
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
		c := Config{URLs: []string{s}}
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
