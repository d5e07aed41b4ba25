package kafka

import (
	"context"
	"crypto/tls"

	"github.com/leat-stream/leat/internal/secure"
)

// What protects the connections; docs/security.md goes through it by task.
type (
	// SASL are the credentials of every connection.
	SASL = secure.SASL
	// Secret is a password, token or key that is never printed.
	Secret = secure.Secret
	// Token is a bearer token of OAUTHBEARER.
	Token = secure.Token
	// TokenSource gives tokens, anew for each connection.
	TokenSource = secure.TokenSource
	// TokenFunc is a function as a [TokenSource].
	TokenFunc = secure.TokenFunc
	// AuthenticationError says why a broker and we do not accept each other: TLS or SASL.
	AuthenticationError = secure.AuthenticationError
	// AuthorizationError says which right the user lacks.
	AuthorizationError = secure.AuthorizationError
)

// SecretOf is a secret that the program has got from elsewhere. SecretOf("") is none.
func SecretOf(text string) Secret { return secure.SecretOf(text) }

// SecretEnv is a secret in an environment variable.
func SecretEnv(name string) Secret { return secure.SecretEnv(name) }

// SecretFile is a secret in a file of at most 64 KiB, without the line end at its end.
// It is read again for each new connection: a file that is replaced (write another and
// rename it, as Kubernetes does) serves from the next connection on.
func SecretFile(path string) Secret { return secure.SecretFile(path) }

// SecretFunc is a secret that a function gets, from a vault for example. It is called
// for each new connection, on several goroutines at once, and has a few seconds: it
// should keep what it has got for a while. Its errors are shown: the secret must not be
// in them.
func SecretFunc(get func(context.Context) (string, error)) Secret { return secure.SecretFunc(get) }

// TokenOf is a source of one token, read anew each time, without extensions: for a
// file that a sidecar keeps fresh, for example.
func TokenOf(s Secret) TokenSource { return secure.TokenOf(s) }

// TLSFiles is the usual TLS configuration, from PEM files: version 1.2 or later, the
// broker's certificate verified against the authorities in ca, or against the system's
// if ca is empty; and, if cert and key are not empty, a client certificate, with those
// between it and its authority after it in the same file (mTLS).
//
// All files are read now, so that mistakes are found. The client certificate and its
// key are read again for each new connection: a renewed one serves from then on. The
// authorities are not: a change of them needs a new configuration.
//
// Kafka: ssl.truststore.location, ssl.keystore.location, of type PEM.
func TLSFiles(ca, cert, key string) (*tls.Config, error) { return secure.TLSFiles(ca, cert, key) }
