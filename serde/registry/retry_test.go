package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
)

func retrying(retries int, backoff pipeline.Backoff) func(*Config) {
	return func(c *Config) { c.Retries, c.Backoff = retries, backoff }
}

// What fails at once is tried again, a given number of times, after a wait.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			retries, bad, requests int
			status                 int
			class                  string
		}{
			{0, 2, 3, 503, "none"}, {0, 9, 3, 503, "retriable"}, {5, 5, 6, 429, "none"}, {NoRetries, 1, 1, 503, "retriable"},
			{0, 9, 1, 401, "fatal"}, {0, 9, 1, 404, "unmarked"},
		} {
			requests, begin := 0, time.Now()
			client := newOver(t, func(*http.Request) (*http.Response, error) {
				if requests++; requests <= tt.bad {
					return answer(tt.status, `{"error_code":40403,"message":"x"}`), nil
				}
				return answer(200, `{"schema":"\"int\""}`), nil
			}, retrying(tt.retries, pipeline.Backoff{}))
			_, err := client.SchemaByID(t.Context(), 1)
			if class(err) != tt.class || requests != tt.requests {
				t.Errorf("%+v: %d requests, %v", tt, requests, err)
			}
			if waited := time.Since(begin); (waited > 0) != (requests > 1) {
				t.Errorf("%+v: waited %v for %d requests", tt, waited, requests)
			}
		}
	})
}

// Within Timeout of the first request, and within the caller's context.
func TestRetriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		down := func(*http.Request) (*http.Response, error) { requests++; return nil, errors.New("down") }
		client := newOver(t, down, retrying(1000, pipeline.Backoff{Initial: time.Second, Max: time.Second}))
		begin := time.Now()
		if _, err := client.SchemaByID(t.Context(), 1); class(err) != "retriable" || time.Since(begin) > DefaultTimeout || requests < 5 {
			t.Errorf("%d requests in %v, %v", requests, time.Since(begin), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		begin = time.Now()
		if err := client.Ping(ctx); class(err) != "retriable" || time.Since(begin) != 1500*time.Millisecond {
			t.Errorf("took %v, %v", time.Since(begin), err)
		}
	})
}

// A node that accepts connections and says nothing costs Timeout once.
func TestAFrozenNode(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close() // what it never accepts waits in the kernel
	live := srfake.New()
	defer live.Close()
	const timeout = 200 * time.Millisecond
	client, err := New(Config{URLs: []string{"http://" + frozen.Addr().String(), live.URL()}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	id, err := client.Register(t.Context(), "t-value", Schema{Text: someAvsc})
	if err != nil || time.Since(begin) < timeout {
		t.Fatalf("%v after %v", err, time.Since(begin))
	}
	if client.good.Load() != 1 {
		t.Error("the frozen node is asked first again")
	}
	if _, err := client.SchemaByID(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestTokenFunc(t *testing.T) {
	n, sent := 0, []string{}
	fails := errors.New("the token's file is gone")
	client := newOver(t, func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.Header.Get("Authorization"))
		return answer(200, `{"schema":"\"int\""}`), nil
	}, func(c *Config) {
		c.URLs[0] = "https://one.test"
		c.TokenFunc = func(context.Context) (string, error) {
			if n++; n == 3 {
				return "", fails
			}
			return strings.Repeat("t", n), nil
		}
	})
	for id := range 2 {
		if _, err := client.SchemaByID(t.Context(), id+1); err != nil {
			t.Error(err)
		}
	}
	_, err := client.SchemaByID(t.Context(), 3)
	if class(err) != "retriable" || !errors.Is(err, ErrUnauthorized) || !errors.Is(err, fails) {
		t.Errorf("%s: %v", class(err), err)
	}
	if strings.Join(sent, ", ") != "Bearer t, Bearer tt" {
		t.Errorf("sent %q", sent)
	}
}
