package secure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// The mechanisms of SASL.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// SASL are the credentials of every connection. They are read anew for each.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty for no
	// SASL. Kafka: sasl.mechanism.
	Mechanism string
	// User and Password are for PLAIN and SCRAM. Kafka: sasl.jaas.config.
	User     string
	Password Secret
	// Token gives the tokens of OAUTHBEARER. Kafka: sasl.login.callback.handler.class.
	Token TokenSource
	// AllowWithoutTLS permits PLAIN and OAUTHBEARER on connections that are not
	// encrypted, where whoever listens has the password or the token. Without it they are
	// refused. SCRAM needs no permission: it does not send the password.
	AllowWithoutTLS bool
}

// Mistakes returns what is wrong, given whether connections are encrypted.
func (s SASL) Mistakes(encrypted bool) (bad []error) {
	switch s.Mechanism {
	case "":
		if s.User != "" || !s.Password.IsZero() || s.Token != nil {
			bad = append(bad, errors.New("SASL: there are credentials and no Mechanism; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"))
		}
		return bad
	case Plain, ScramSHA256, ScramSHA512:
		if s.User == "" || s.Password.IsZero() {
			bad = append(bad, fmt.Errorf("SASL: %s needs User and Password", s.Mechanism))
		}
	case OAuthBearer:
		if s.Token == nil {
			bad = append(bad, errors.New("SASL: OAUTHBEARER needs Token"))
		}
	default:
		return append(bad, fmt.Errorf("SASL: mechanism %q is not known; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", s.Mechanism))
	}
	if (s.Mechanism == Plain || s.Mechanism == OAuthBearer) && !encrypted && !s.AllowWithoutTLS {
		bad = append(bad, fmt.Errorf("SASL: %s without TLS shows the credentials to whoever listens; set TLS, use SCRAM, or set SASL.AllowWithoutTLS", s.Mechanism))
	}
	return bad
}

// Exchange is one authentication: what to send first, and what to answer.
type Exchange struct {
	first []byte
	step  func(challenge []byte) (answer []byte, done bool, err error)
}

// First is what the client says first.
func (x *Exchange) First() []byte { return x.first }

// Step takes what the broker says. It is done when nothing is to be answered.
func (x *Exchange) Step(challenge []byte) (answer []byte, done bool, err error) {
	return x.step(challenge)
}

// Begin reads the credentials and begins an exchange.
func (s SASL) Begin(ctx context.Context) (*Exchange, error) {
	switch s.Mechanism {
	case Plain:
		password, err := s.password(ctx)
		if err != nil {
			return nil, err
		}
		return &Exchange{[]byte("\x00" + s.User + "\x00" + password), func([]byte) ([]byte, bool, error) { return nil, true, nil }}, nil
	case OAuthBearer:
		return s.bearer(ctx)
	default:
		return s.scram(ctx)
	}
}

func (s SASL) password(ctx context.Context) (string, error) {
	password, err := s.Password.Reveal(ctx)
	if err != nil {
		return "", fmt.Errorf("SASL: Password: %w", err)
	}
	return password, nil
}

func (s SASL) scram(ctx context.Context) (*Exchange, error) {
	password, err := s.password(ctx)
	if err != nil {
		return nil, err
	}
	hash := scram.SHA256
	if s.Mechanism == ScramSHA512 {
		hash = scram.SHA512
	}
	client, err := hash.NewClient(s.User, password, "")
	if err != nil {
		return nil, errors.New("SASL: User or Password cannot be used with SCRAM: they contain characters that SASLprep (RFC 4013) forbids") // the cause shows them
	}
	talk := client.NewConversation()
	first, err := talk.Step("")
	if err != nil {
		return nil, err
	}
	return &Exchange{[]byte(first), func(challenge []byte) ([]byte, bool, error) {
		answer, err := talk.Step(string(challenge))
		return []byte(answer), talk.Done(), err
	}}, nil
}

func (s SASL) bearer(ctx context.Context) (*Exchange, error) {
	token, err := s.Token.Token(ctx)
	if err == nil {
		err = CheckToken(token)
	}
	if err != nil {
		return nil, fmt.Errorf("SASL: Token: %w", err)
	}
	text, err := token.Value.Reveal(ctx)
	if err != nil {
		return nil, fmt.Errorf("SASL: Token: %w", err)
	}
	if strings.ContainsRune(text, 1) {
		return nil, errors.New("SASL: Token: the token contains a control character")
	}
	var first strings.Builder // RFC 7628
	first.WriteString("n,,\x01auth=Bearer " + text)
	for _, name := range slices.Sorted(maps.Keys(token.Extensions)) {
		first.WriteString("\x01" + name + "=" + token.Extensions[name])
	}
	first.WriteString("\x01\x01")
	return &Exchange{[]byte(first.String()), func(challenge []byte) ([]byte, bool, error) {
		if len(challenge) == 0 {
			return nil, true, nil
		}
		return []byte{1}, false, nil // a refusal, of which the broker tells the reason next
	}}, nil
}
