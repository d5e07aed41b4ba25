package secure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Secret is a password, token or key that is never printed: fmt with any verb,
// encoding/json, encoding/gob, log/slog, and printers that walk a value by reflection
// show "[secret]", an address, or an error, also of a struct that holds it. What it
// stands for is read anew for each new connection, so that it can change while the
// program runs. It is safe for concurrent use. The zero Secret is none.
//
// The program's memory holds the text while it is used; Go cannot wipe it.
type Secret struct {
	// read is a function for the sake of printers: the text is nowhere in the value.
	read func(context.Context) (string, error)
}

// hidden is what is printed of a secret.
const hidden = "[secret]"

// maxSecret bounds a secret file.
const maxSecret = 64 << 10

// The errors of reading a secret, which say what it is kept in, never what it is.
var (
	errNoSecret    = errors.New("no secret is set")
	errEmptySecret = errors.New("it is empty")
	errNotExported = errors.New("a secret is not encoded")
)

// SecretOf is a secret that the program has got from elsewhere. SecretOf("") is the
// zero Secret.
func SecretOf(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{func(context.Context) (string, error) { return text, nil }}
}

// SecretEnv is a secret in an environment variable. That it is not set, or empty, is an
// error when it is needed.
func SecretEnv(name string) Secret {
	return Secret{func(context.Context) (string, error) {
		text := os.Getenv(name)
		if text == "" {
			return "", fmt.Errorf("environment variable %s: it is not set, or empty", name)
		}
		return text, nil
	}}
}

// SecretFile is a secret in a file of at most 64 KiB, without the line end at its end.
// It is read again for each new connection: a file that is replaced (write another and
// rename it, as Kubernetes does) serves from the next connection on.
func SecretFile(path string) Secret {
	return Secret{func(context.Context) (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("secret file: %w", err)
		}
		defer f.Close()
		raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		text := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
		switch {
		case err != nil:
			return "", fmt.Errorf("secret file: %w", err)
		case len(raw) > maxSecret:
			return "", fmt.Errorf("secret file %s: larger than %d bytes", path, maxSecret)
		case text == "":
			return "", fmt.Errorf("secret file %s: %w", path, errEmptySecret)
		}
		return text, nil
	}}
}

// SecretFunc is a secret that a function gets, from a vault for example. It is called
// for each new connection, on several goroutines at once, and has a few seconds: it
// should keep what it has got for a while. Its errors are shown: the secret must not be
// in them.
func SecretFunc(get func(context.Context) (string, error)) Secret { return Secret{get} }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.read == nil }

// Reveal returns the secret itself. Whoever calls it answers for where it goes.
func (s Secret) Reveal(ctx context.Context) (string, error) {
	if s.read == nil {
		return "", errNoSecret
	}
	text, err := s.read(ctx)
	if err == nil && text == "" {
		err = errEmptySecret
	}
	if err != nil {
		return "", err
	}
	return text, nil
}

// String says only that it is a secret, or "" for none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// GoString is for %#v.
func (s Secret) GoString() string {
	if s.IsZero() {
		return "kafka.Secret{}"
	}
	return "kafka.Secret{" + hidden + "}"
}

// Format answers every verb of fmt.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text)
}

// LogValue is for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is for encoding/json and others.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the secret, so that it can stand in a configuration file.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = SecretOf(string(text))
	return nil
}

// GobEncode refuses: what is encoded is meant to be decoded.
func (s Secret) GobEncode() ([]byte, error) { return nil, errNotExported }
