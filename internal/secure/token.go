package secure

import (
	"context"
	"fmt"
	"strings"
)

// Token is a bearer token with its extensions (KIP-342).
type Token struct {
	// Value is the token, a JWT as a rule.
	Value Secret
	// Extensions are sent with it. Names are letters; values are printable text.
	Extensions map[string]string
}

// TokenSource gives the tokens of OAUTHBEARER. It is asked anew for each connection,
// and for each time that a broker wants one to be renewed (connections.max.reauth.ms),
// on several goroutines at once. It has a few seconds, as ctx says, and should keep a
// token until shortly before it expires. Its errors are shown: the token must not be in
// them.
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

// TokenFunc is a function as a [TokenSource].
type TokenFunc func(ctx context.Context) (Token, error)

// Token calls f.
func (f TokenFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// TokenOf is a source of one token, read anew each time, without extensions: for a
// file that a sidecar keeps fresh, for example.
func TokenOf(s Secret) TokenSource {
	return TokenFunc(func(context.Context) (Token, error) { return Token{Value: s}, nil })
}

// CheckToken finds what would break the message that carries the token (RFC 7628).
func CheckToken(t Token) error {
	for name, value := range t.Extensions {
		letters := strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0
		printable := strings.IndexFunc(value, func(r rune) bool { return r > 126 || r < 32 && r != '\t' && r != '\r' && r != '\n' }) < 0
		if name == "" || name == "auth" || !letters || !printable {
			return fmt.Errorf("extension %q of the token: names are letters, except for auth, values printable", name)
		}
	}
	return nil
}
