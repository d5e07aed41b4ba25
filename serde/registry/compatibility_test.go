package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestCompatibility(t *testing.T) {
	for name, tt := range map[string]struct {
		subject, global *http.Response
		want            string
		kind            error
	}{
		"its own":        {answer(200, `{"compatibilityLevel":"FULL"}`), nil, "FULL", nil},
		"the registry's": {answer(404, `{"error_code":40408,"message":"no level"}`), answer(200, `{"compatibilityLevel":"NONE"}`), "NONE", nil},
		"transitive":     {answer(200, `{"compatibilityLevel":"BACKWARD_TRANSITIVE"}`), nil, "BACKWARD_TRANSITIVE", nil},
		"not allowed":    {answer(403, `{"error_code":403,"message":"no"}`), nil, "", ErrUnauthorized},
		"a proxy":        {answer(404, `<html>`), nil, "", ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newOver(t, func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/config/t-value") {
					return tt.subject, nil
				}
				if !strings.HasSuffix(r.URL.Path, "/config") || tt.global == nil {
					t.Errorf("it asked %s", r.URL)
				}
				return tt.global, nil
			})
			level, err := c.Compatibility(t.Context(), "t-value")
			if !errors.Is(err, tt.kind) || err == nil && level != tt.want {
				t.Errorf("%q, %v; want %q, %v", level, err, tt.want, tt.kind)
			}
		})
	}
}

func TestCompatible(t *testing.T) {
	for name, tt := range map[string]struct {
		answer *http.Response
		ok     bool
		why    string
		kind   error
	}{
		"yes":         {answer(200, `{"is_compatible":true}`), true, "", nil},
		"no":          {answer(200, `{"is_compatible":false,"messages":["a","b"]}`), false, "a b", nil},
		"no versions": {answer(404, `{"error_code":40401,"message":"no subject"}`), true, "", nil},
		"invalid":     {answer(422, `{"error_code":42201,"message":"invalid"}`), false, "", ErrInvalidSchema},
	} {
		t.Run(name, func(t *testing.T) {
			c := newOver(t, func(r *http.Request) (*http.Response, error) {
				if want := "/compatibility/subjects/t-value/versions/latest"; !strings.HasSuffix(r.URL.Path, want) || r.Method != http.MethodPost {
					t.Errorf("it asked %s %s, not %s", r.Method, r.URL, want)
				}
				return tt.answer, nil
			})
			ok, why, err := c.Compatible(t.Context(), "t-value", Schema{Text: `"string"`})
			if ok != tt.ok || strings.Join(why, " ") != tt.why || !errors.Is(err, tt.kind) {
				t.Errorf("%v, %v, %v; want %v, %q, %v", ok, why, err, tt.ok, tt.why, tt.kind)
			}
		})
	}
	if _, _, err := newOver(t, nil).Compatible(t.Context(), "t-value", Schema{Type: "XML"}); err == nil {
		t.Error("a type that is not known is asked for")
	}
}

// Whether the registry says why when it is asked, in its refusal, or not at all: there are
// reasons.
func TestReasons(t *testing.T) {
	refusal := `{"error_code":409,"message":"b at /fields/0"}`
	for name, tt := range map[string]struct{ refusal, check, registering, checking string }{
		"when asked":      {refusal, `{"is_compatible":false,"messages":["x","y"]}`, "x|y", "x|y"},
		"in the refusal":  {refusal, `{"is_compatible":false}`, "b at /fields/0", "level of the subject is FULL"},
		"not at all":      {`{"error_code":409}`, `{"is_compatible":false}`, "level of the subject is FULL", "level of the subject is FULL"},
		"no more answers": {refusal, "", "b at /fields/0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newOver(t, func(r *http.Request) (*http.Response, error) {
				switch {
				case strings.HasPrefix(r.URL.Path, "/config"):
					return answer(200, `{"compatibilityLevel":"FULL"}`), nil
				case strings.HasPrefix(r.URL.Path, "/subjects/"):
					return answer(409, tt.refusal), nil
				case tt.check == "":
					return nil, errors.New("no answer")
				}
				return answer(200, tt.check), nil
			})
			check := func(err error, want string) {
				t.Helper()
				var e *Error
				if !errors.As(err, &e) || !errors.Is(err, ErrIncompatible) || class(err) != "fatal" || !strings.HasSuffix(strings.Join(e.Reasons, "|"), want) {
					t.Errorf("%v, reasons %q", err, e.Reasons)
				}
			}
			_, err := c.Register(t.Context(), "t-value", Schema{Text: someAvsc})
			check(err, tt.registering)
			if err = c.MustBeCompatible(t.Context(), "t-value", Schema{Text: someAvsc}); tt.checking != "" {
				check(err, tt.checking)
			} else if class(err) != "retriable" {
				t.Errorf("without an answer: %v", err)
			}
		})
	}
}
