package console_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
)

func TestReadOnly(t *testing.T) {
	live := newConsole(t, console.Config{})
	for _, path := range []string{"/", "/state.json", "/icon.svg", "/healthz", "/readyz", "/metrics", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"} {
			w := httptest.NewRecorder()
			live.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("x")))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

func TestHeadersOfAnswers(t *testing.T) {
	live := newConsole(t, console.Config{})
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/state.json": "application/json", "/icon.svg": "image/svg+xml",
		"/metrics": "text/plain; version=0.0.4; charset=utf-8", "/healthz": "text/plain; charset=utf-8", "/readyz": "text/plain; charset=utf-8", "/nothing": "text/plain; charset=utf-8",
	} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Origin", "http://elsewhere.example")
		w := httptest.NewRecorder()
		live.ServeHTTP(w, r)
		h := w.Header()
		if h.Get("Content-Type") != want || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", path, name)
			}
		}
	}
	if w := get(live, "/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("/nothing: %d", w.Code)
	}
}

// The policy allows the page's own style and script, by their hashes, and nothing else;
// the page loads nothing and has no inline handlers or styles, which it would forbid.
func TestContentSecurityPolicy(t *testing.T) {
	w := get(newConsole(t, console.Config{}), "/")
	policy, html := w.Header().Get("Content-Security-Policy"), w.Body.String()
	for element, directive := range map[string]string{"script": "script-src", "style": "style-src"} {
		found := regexp.MustCompile(`(?s)<`+element+`[^>]*>(.*?)</`+element+`>`).FindAllStringSubmatch(html, -1)
		if len(found) != 1 || len(found[0][1]) < 1000 {
			t.Fatalf("%d elements %s", len(found), element)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		want := directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none';") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("policy %s", policy)
	}
	for _, forbidden := range []string{`\sstyle="`, `\son[a-z]+="`, `https?://[^w]`, `//cdn`, `@import`, `url\(`, `innerHTML`, `insertAdjacentHTML`, `document\.write`, `\beval\(`, `(src|href)="/`} {
		if hit := regexp.MustCompile(forbidden).FindString(html); hit != "" {
			t.Errorf("the page has %q", hit)
		}
	}
}

func TestUnderAPrefix(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/ops/leat/", http.StripPrefix("/ops/leat", newConsole(t, console.Config{})))
	for _, prefix := range []string{"/ops/leat/"} {
		for path, want := range map[string]string{"": "<!doctype html>", "state.json": `{"version":1`, "healthz": "ok"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", prefix+path, nil))
			if w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) {
				t.Errorf("%s: %d %.40s", prefix+path, w.Code, w.Body)
			}
		}
	}
}

// Over loopback a browser opens a connection for any page whose name resolves to this
// machine: only names of this machine are answered there.
func TestHostOverLoopback(t *testing.T) {
	live := newConsole(t, console.Config{Hosts: []string{"ops.example"}})
	for _, test := range []struct {
		local, host string
		want        int
	}{
		{"127.0.0.1", "localhost:8080", 200}, {"127.0.0.1", "LOCALHOST", 200}, {"127.0.0.1", "127.0.0.1:8080", 200}, {"127.0.0.1", "127.8.7.6", 200},
		{"::1", "[::1]:8080", 200}, {"::1", "[::1]", 200}, {"127.0.0.1", "ops.example", 200}, {"127.0.0.1", "Ops.Example:80", 200},
		{"127.0.0.1", "evil.example", 403}, {"127.0.0.1", "evil.example:8080", 403}, {"::1", "evil.example", 403},
		{"127.0.0.1", "localhost.evil.example", 403}, {"127.0.0.1", "127.0.0.1.evil.example", 403}, {"127.0.0.1", "10.0.0.1", 403}, {"127.0.0.1", "", 403},
		{"10.0.0.1", "leat.example", 200},
	} {
		for _, path := range []string{"/", "/state.json", "/healthz"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = test.host
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(test.local)})))
			w := httptest.NewRecorder()
			live.ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("%s for %q at %s: %d, want %d", path, test.host, test.local, w.Code, test.want)
			}
		}
	}
}

// The same through net/http, which tells the local address; HEAD has no body.
func TestServe(t *testing.T) {
	l, err := console.Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Fatalf("it listens on %v", l.Addr())
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- newConsole(t, console.Config{}).Serve(ctx, l) }()
	ask := func(method, host string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := ask("GET", ""); code != 200 || body != "ok\n" {
		t.Errorf("GET: %d %q", code, body)
	}
	if code, body := ask("HEAD", ""); code != 200 || body != "" {
		t.Errorf("HEAD: %d %q", code, body)
	}
	if code, _ := ask("GET", "evil.example"); code != 403 {
		t.Errorf("GET of another name: %d", code)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestListen(t *testing.T) {
	for addr, loopback := range map[string]bool{":0": true, "localhost:0": true, "0.0.0.0:0": false} {
		l, err := console.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().(*net.TCPAddr).IP.IsLoopback(); got != loopback {
			t.Errorf("%s listens on %v", addr, l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := console.Listen("8080"); err == nil {
		t.Error("8080 is no address")
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := console.New(console.Config{Hosts: []string{"", "http://a", "a:80", "fine.example"}})
	if err == nil || strings.Count(err.Error(), "is not a host's name") != 3 {
		t.Errorf("error %v", err)
	}
	if err := (console.Config{Hosts: []string{""}}).Validate(); err == nil || !strings.Contains(err.Error(), pipeline.ErrInvalid.Error()) {
		t.Errorf("error %v", err)
	}
}
