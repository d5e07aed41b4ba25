package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
)

const someAvsc = `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`

// transportFunc answers without a network, so that synctest's clock applies.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func newOver(t testing.TB, f transportFunc, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{URLs: []string{"http://one.test"}, HTTPClient: &http.Client{Transport: f}, Retries: NoRetries}
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func class(err error) string {
	switch {
	case err == nil:
		return "none"
	case pipeline.IsRetriable(err):
		return "retriable"
	case pipeline.IsFatal(err):
		return "fatal"
	}
	return "unmarked"
}

func TestErrorClasses(t *testing.T) {
	const page = "<html>s3cr3t</html>"
	own := func(code int) string { return fmt.Sprintf(`{"error_code":%d,"message":"why"}`, code) }
	for _, c := range []struct {
		status                int
		body                  string
		get, register, lookup string
		kind                  error
	}{
		{401, own(401), "fatal", "fatal", "fatal", ErrUnauthorized},
		{403, page, "fatal", "fatal", "fatal", ErrUnauthorized},
		{407, "", "fatal", "fatal", "fatal", ErrUnauthorized},
		{404, own(40403), "unmarked", "fatal", "fatal", ErrNotFound},
		{404, own(404), "unmarked", "fatal", "fatal", ErrNotFound},
		{404, page, "retriable", "retriable", "retriable", ErrNotRegistry},
		{404, "404 page not found", "retriable", "retriable", "retriable", ErrNotRegistry},
		{404, "", "retriable", "retriable", "retriable", ErrUnavailable},
		{408, "", "retriable", "retriable", "retriable", ErrUnavailable},
		{429, own(42900), "retriable", "retriable", "retriable", ErrUnavailable},
		{500, own(50001), "retriable", "retriable", "retriable", ErrUnavailable},
		{502, page, "retriable", "retriable", "retriable", ErrUnavailable},
		{503, "", "retriable", "retriable", "retriable", ErrUnavailable},
		{504, page, "retriable", "retriable", "retriable", ErrUnavailable},
		{409, own(409), "fatal", "fatal", "fatal", ErrIncompatible},
		{422, own(42201), "fatal", "fatal", "fatal", ErrInvalidSchema},
		{400, "", "fatal", "fatal", "fatal", ErrRefused},
		{405, page, "fatal", "fatal", "fatal", ErrRefused},
		{304, "", "retriable", "retriable", "retriable", ErrNotRegistry},
		{200, page, "retriable", "retriable", "retriable", ErrUnavailable},
		{200, "", "retriable", "retriable", "retriable", ErrUnavailable},
	} {
		client := newOver(t, func(*http.Request) (*http.Response, error) { return answer(c.status, c.body), nil })
		_, get := client.SchemaByID(t.Context(), 7)
		_, register := client.Register(t.Context(), "s", Schema{Text: someAvsc})
		_, lookup := client.Lookup(t.Context(), "s", Schema{Text: someAvsc})
		for _, x := range []struct {
			op, want string
			err      error
		}{{"get", c.get, get}, {"register", c.register, register}, {"lookup", c.lookup, lookup}} {
			if got := class(x.err); got != x.want {
				t.Errorf("%d %q: %s is %s, want %s: %v", c.status, c.body, x.op, got, x.want, x.err)
			}
			var e *Error
			if !errors.As(x.err, &e) || !errors.Is(x.err, c.kind) {
				t.Errorf("%d %q: %s: %v is not %v", c.status, c.body, x.op, x.err, c.kind)
			}
			if strings.Contains(x.err.Error(), "s3cr3t") {
				t.Errorf("%d: quotes a page that is not the registry's: %v", c.status, x.err)
			}
		}
	}
}

func TestAnswerWithoutID(t *testing.T) {
	client := newOver(t, func(*http.Request) (*http.Response, error) { return answer(200, "{}"), nil })
	if _, err := client.Register(t.Context(), "s", Schema{Text: someAvsc}); class(err) != "retriable" {
		t.Errorf("got %v", err)
	}
}

func TestPing(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
	}{
		{404, `{"error_code":40403,"message":"Schema not found"}`, "none"},
		{200, `{"schema":"\"int\""}`, "none"},
		{404, "404 page not found", "fatal"},
		{401, "", "fatal"},
		{503, "", "retriable"},
	} {
		client := newOver(t, func(*http.Request) (*http.Response, error) { return answer(c.status, c.body), nil })
		if err := client.Ping(t.Context()); class(err) != c.want {
			t.Errorf("%d %q: %s, want %s: %v", c.status, c.body, class(err), c.want, err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	client, err := New(Config{URLs: []string{strings.Replace(url, "http://", "http://user:s3cr3t@", 1)}})
	if err != nil {
		t.Fatal(err)
	}
	err = client.Ping(t.Context())
	if class(err) != "retriable" || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "user") {
		t.Errorf("shows the credentials: %v", err)
	}
}

func TestUntrustedCertificateIsFatal(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the handshake
	s.StartTLS()
	defer s.Close()
	client, err := New(Config{URLs: []string{s.URL}, HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()); class(err) != "fatal" {
		t.Errorf("%s: %v", class(err), err)
	}
}

// A node that never answers costs Timeout, and then the next one is asked.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		start := time.Now()
		client := newOver(t, hang)
		_, err := client.SchemaByID(t.Context(), 1)
		if class(err) != "retriable" || !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != DefaultTimeout {
			t.Errorf("took %v, want %v", d, DefaultTimeout)
		}
		start = time.Now()
		client = newOver(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "one.test" {
				return hang(r)
			}
			return answer(200, `{"schema":"\"int\""}`), nil
		}, func(c *Config) { c.URLs = append(c.URLs, "http://two.test"); c.Timeout = time.Second })
		for id := range 3 {
			if _, err := client.SchemaByID(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %v, want 1s: the node that answers is asked first next time", d)
		}
	})
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		release := make(chan struct{})
		client := newOver(t, func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			<-release
			if r.Method == http.MethodGet {
				return answer(200, `{"schema":"\"int\""}`), nil
			}
			return answer(200, `{"id":7}`), nil
		})
		errs := make(chan error, 40)
		for range 20 {
			go func() { _, err := client.SchemaByID(t.Context(), 7); errs <- err }()
			go func() { _, err := client.Register(t.Context(), "s", Schema{Text: someAvsc}); errs <- err }()
		}
		synctest.Wait()
		close(release)
		for range 40 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := requests.Load(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

func TestUnknownIDIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, known := 0, false
		f := func(*http.Request) (*http.Response, error) {
			requests++
			if known {
				return answer(200, `{"schema":"\"int\""}`), nil
			}
			return answer(404, `{"error_code":40403,"message":"Schema not found"}`), nil
		}
		client := newOver(t, f)
		for range 5 {
			if _, err := client.SchemaByID(t.Context(), 7); class(err) != "unmarked" || !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
		if requests != 1 {
			t.Errorf("%d requests, want 1", requests)
		}
		known = true
		<-time.After(DefaultNegativeTTL) // by the bubble's clock
		if _, err := client.SchemaByID(t.Context(), 7); err != nil {
			t.Error(err)
		}
		known, requests = false, 0
		client = newOver(t, f, func(c *Config) { c.NegativeTTL = NoNegativeCache })
		for range 3 {
			_, _ = client.SchemaByID(t.Context(), 7)
		}
		if requests != 3 {
			t.Errorf("without negative cache: %d requests, want 3", requests)
		}
	})
}

func TestCredentials(t *testing.T) {
	for what, c := range map[string]struct {
		want string
		set  func(*Config)
	}{
		"fields": {"Basic dTpw", func(c *Config) { c.User, c.Password, c.URLs[0] = "u", "p", "https://one.test" }},
		"URL":    {"Basic dTpw", func(c *Config) { c.URLs[0] = "https://u:p@one.test" }},
		"token":  {"Bearer t", func(c *Config) { c.Token, c.URLs[0] = "t", "https://one.test" }},
		"function": {"Bearer f", func(c *Config) {
			c.TokenFunc, c.URLs[0] = func(context.Context) (string, error) { return "f", nil }, "https://one.test"
		}},
		"allowed": {"Bearer t", func(c *Config) { c.Token, c.AllowPlaintextCredentials = "t", true }},
		"none":    {"", func(*Config) {}},
	} {
		got := "not asked"
		client := newOver(t, func(r *http.Request) (*http.Response, error) {
			got = r.Header.Get("Authorization")
			return answer(200, `{"schema":"\"int\""}`), nil
		}, c.set)
		_, err := client.SchemaByID(t.Context(), 1)
		if err != nil || got != c.want {
			t.Errorf("%s: sent %q, want %q; %v", what, got, c.want, err)
		}
	}
}

func TestNormalize(t *testing.T) {
	for _, off := range []bool{false, true} {
		var got []string
		client := newOver(t, func(r *http.Request) (*http.Response, error) {
			got = append(got, r.Method+" "+r.URL.RequestURI())
			return answer(200, `{"id":1,"schema":"\"int\""}`), nil
		}, func(c *Config) { c.NoNormalize = off; c.URLs[0] += "/base/" })
		_, _ = client.Register(t.Context(), "a/b", Schema{Text: someAvsc})
		_, _ = client.Lookup(t.Context(), "a", Schema{Text: someAvsc})
		_, _ = client.SchemaByID(t.Context(), 1)
		q := "?normalize=true"
		if off {
			q = ""
		}
		want := "[POST /base/subjects/a%2Fb/versions" + q + " POST /base/subjects/a" + q + " GET /base/schemas/ids/1]"
		if fmt.Sprint(got) != want {
			t.Errorf("asked %v, want %v", got, want)
		}
	}
}

func TestHugeAnswer(t *testing.T) {
	client := newOver(t, func(*http.Request) (*http.Response, error) {
		r := answer(200, "")
		r.Body = io.NopCloser(endless{})
		return r, nil
	})
	if _, err := client.SchemaByID(t.Context(), 1); class(err) != "retriable" {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestReferences(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	client, err := New(Config{URLs: []string{fake.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	ref := func(name, subject string) sr.SchemaReference {
		return sr.SchemaReference{Name: name, Subject: subject, Version: 1}
	}
	fake.SeedSchema("c", 1, 1, sr.Schema{Schema: `{"type":"fixed","name":"C","size":1}`})
	fake.SeedSchema("b", 1, 2, sr.Schema{Schema: `{"type":"array","items":"C"}`, References: []sr.SchemaReference{ref("C", "c")}})
	fake.SeedSchema("a", 1, 3, sr.Schema{Schema: `["B","C"]`, References: []sr.SchemaReference{ref("B", "b"), ref("C", "c")}})
	s, err := client.SchemaByID(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range s.References {
		names = append(names, r.Name)
		if r.Text == "" {
			t.Errorf("reference %s has no text", r.Name)
		}
	}
	if fmt.Sprint(names) != "[C B]" {
		t.Errorf("references %v, want [C B]: each once, each after what it needs", names)
	}
	if s.Type != Avro || s.identity() == (Schema{Text: s.Text}).identity() {
		t.Errorf("type %q; references must count in the identity", s.Type)
	}
	// Registered again, it is the same schema.
	id, err := client.Register(t.Context(), "a", s)
	if err != nil || id != 3 {
		t.Errorf("registered as %d, %v", id, err)
	}
}

func TestReferenceGone(t *testing.T) {
	client := newOver(t, func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/ids/") {
			return answer(200, `{"schema":"\"int\"","references":[{"name":"n","subject":"s","version":1}]}`), nil
		}
		return answer(404, `{"error_code":40401,"message":"Subject not found"}`), nil
	})
	if _, err := client.SchemaByID(t.Context(), 1); class(err) != "fatal" {
		t.Errorf("%s: %v", class(err), err)
	}
}

func TestUnknownTypeToRegister(t *testing.T) {
	client := newOver(t, func(*http.Request) (*http.Response, error) { t.Error("asked"); return nil, io.EOF })
	if _, err := client.Register(t.Context(), "s", Schema{Type: "XML"}); class(err) != "fatal" {
		t.Errorf("got %v", err)
	}
}

func TestMessageIsShortened(t *testing.T) {
	long := strings.Repeat("ä\\n ", 1000)
	client := newOver(t, func(*http.Request) (*http.Response, error) {
		return answer(409, `{"error_code":409,"message":"`+long+`"}`), nil
	})
	_, err := client.Register(t.Context(), "s", Schema{Text: someAvsc})
	var e *Error
	if !errors.As(err, &e) || len(e.Message) > maxMessage+8 || strings.ContainsAny(e.Message, "\n") {
		t.Errorf("got %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"id":1,"schema":"\"int\"","schemaType":"AVRO"}`))
	f.Add(404, []byte(`{"error_code":40403,"message":"x"}`))
	f.Add(409, []byte(`{"error_code":"409"}`))
	f.Add(500, []byte("\xff<html>"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%400+400)%400
		client := newOver(t, func(r *http.Request) (*http.Response, error) { return answer(status, string(body)), nil })
		s, err := client.SchemaByID(t.Context(), 1)
		if (err == nil) == (status >= 300) {
			if err == nil {
				t.Errorf("status %d accepted: %v", status, s)
			}
		}
		if id, err := client.Register(t.Context(), "s", Schema{Text: someAvsc}); err == nil && id <= 0 {
			t.Errorf("id %d", id)
		}
		if class(err) == "unmarked" && !errors.Is(err, ErrNotFound) {
			t.Errorf("no class: %v", err)
		}
	})
}
