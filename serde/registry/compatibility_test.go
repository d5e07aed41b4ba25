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
