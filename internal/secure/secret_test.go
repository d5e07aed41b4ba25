package secure_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/secure"
)

const text = "hunter2-very-secret"

type holder struct {
	Name     string
	Password secure.Secret
	hidden   secure.Secret
	Pointer  *secure.Secret
	Map      map[string]secure.Secret
	Any      any
}

func held() holder {
	s := secure.SecretOf(text)
	return holder{"n", s, s, &s, map[string]secure.Secret{"k": s}, s}
}

// reveals reports whether the secret is in what was printed, plain or in hex.
func reveals(printed string) bool {
	return strings.Contains(printed, text) || strings.Contains(strings.ToLower(printed), hex.EncodeToString([]byte(text))) ||
		strings.Contains(printed, text[:8])
}

func TestSecretIsNeverPrinted(t *testing.T) {
	h := held()
	sasl := secure.SASL{Mechanism: secure.Plain, User: "u", Password: h.Password}
	token := secure.Token{Value: h.Password}
	for _, v := range []any{h, &h, h.Password, h.Pointer, sasl, &sasl, token, []secure.Secret{h.Password}, errors.Join(fmt.Errorf("%v", h))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%T", "%p", "%o", "%10.3v", "%U"} {
			if got := fmt.Sprintf(verb, v); reveals(got) {
				t.Errorf("%s of a %T prints %s", verb, v, got)
			}
		}
		if got, err := json.Marshal(v); reveals(string(got)) {
			t.Errorf("JSON of a %T: %s, %v", v, got, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		if reveals(log.String()) {
			t.Errorf("slog of a %T: %s", v, log.String())
		}
	}
	if got := fmt.Sprintf("%v|%s|%q|%#v", h.Password, h.Password, h.Password, h.Password); got != "[secret]|[secret]|[secret]|kafka.Secret{[secret]}" {
		t.Errorf("printed %s", got)
	}
	if got := fmt.Sprintf("%v|%#v", secure.Secret{}, secure.Secret{}); got != "|kafka.Secret{}" {
		t.Errorf("none is printed %s", got)
	}
	var enc bytes.Buffer
	if err := gob.NewEncoder(&enc).Encode(struct{ Password secure.Secret }{h.Password}); err == nil || reveals(enc.String()) {
		t.Errorf("gob: %v", err)
	}
	// A printer that walks values by reflection, unexported fields and pointers included.
	if found := walk(reflect.ValueOf(h), map[uintptr]bool{}); reveals(found) {
		t.Errorf("reflection finds it: %s", found)
	}
}

// walk collects every text within reach of reflection.
func walk(v reflect.Value, seen map[uintptr]bool) (out string) {
	switch v.Kind() {
	case reflect.String:
		return v.String() + " "
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Kind() == reflect.Pointer && seen[v.Pointer()] {
			return ""
		}
		if v.Kind() == reflect.Pointer {
			seen[v.Pointer()] = true
		}
		return walk(v.Elem(), seen)
	case reflect.Struct:
		for i := range v.NumField() {
			out += walk(v.Field(i), seen)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			out += walk(v.Index(i), seen)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			out += walk(k, seen) + walk(v.MapIndex(k), seen)
		}
	}
	return out
}

func TestSecretsComeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(s secure.Secret, want string) {
		t.Helper()
		if got, err := s.Reveal(t.Context()); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	fails := func(s secure.Secret, says string) {
		t.Helper()
		if got, err := s.Reveal(t.Context()); err == nil || got != "" || !strings.Contains(err.Error(), says) {
			t.Errorf("%q, error %v, want one that says %q", got, err, says)
		}
	}
	file, env := secure.SecretFile(path), secure.SecretEnv("LEAT_TEST_SECRET_ENV")
	fails(secure.Secret{}, "no secret")
	fails(secure.SecretOf(""), "no secret")
	fails(file, "no such file")
	fails(env, "LEAT_TEST_SECRET_ENV")
	write("\n")
	fails(file, "empty")
	write("first\r\n")
	is(file, "first")
	write(" with spaces \n\n")
	is(file, " with spaces \n")
	write(strings.Repeat("x", 64<<10))
	is(file, strings.Repeat("x", 64<<10))
	write(strings.Repeat("x", 64<<10+1))
	fails(file, "larger than")
	t.Setenv("LEAT_TEST_SECRET_ENV", "of-env")
	is(env, "of-env")
	is(secure.SecretFunc(func(context.Context) (string, error) { return "of-func", nil }), "of-func")
	fails(secure.SecretFunc(func(context.Context) (string, error) { return "", nil }), "empty")
	fails(secure.SecretFunc(func(context.Context) (string, error) { return "half", errors.New("sealed") }), "sealed")

	var config struct{ Password secure.Secret }
	if err := json.Unmarshal([]byte(`{"Password":"of-json"}`), &config); err != nil {
		t.Fatal(err)
	}
	is(config.Password, "of-json")
}
