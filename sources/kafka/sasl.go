package kafkasource

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// authenticate sets the credentials of sarama's own clients, the group's and a table's. They
// are read anew for each connection, and when a broker wants a session to be renewed;
// only the password of PLAIN, for which sarama has no hook, is that of the run's start.
func authenticate(ctx context.Context, s *sarama.Config, with secure.SASL) error {
	if with.Mechanism == "" {
		return nil
	}
	c := &s.Net.SASL
	c.Enable, c.Mechanism, c.User = true, sarama.SASLMechanism(with.Mechanism), with.User
	switch with.Mechanism {
	case secure.Plain:
		password, err := with.Password.Reveal(ctx)
		if err != nil {
			return fmt.Errorf("SASL: Password: %w", err)
		}
		c.Password = password
	case secure.OAuthBearer:
		c.TokenProvider = tokens{with.Token, s.Net.DialTimeout}
	default:
		c.Password = "-" // sarama wants one; exchange reads it itself
		c.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &exchange{sasl: with, timeout: s.Net.DialTimeout} }
	}
	return nil
}

// tokens is a token source as sarama wants it, without a context.
type tokens struct {
	source  secure.TokenSource
	timeout time.Duration
}

// Token implements sarama's AccessTokenProvider.
func (t tokens) Token() (*sarama.AccessToken, error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	token, err := t.source.Token(ctx)
	if err == nil {
		err = secure.CheckToken(token)
	}
	if err != nil {
		return nil, fmt.Errorf("SASL: Token: %w", err)
	}
	text, err := token.Value.Reveal(ctx)
	if err != nil {
		return nil, fmt.Errorf("SASL: Token: %w", err)
	}
	return &sarama.AccessToken{Token: text, Extensions: token.Extensions}, nil
}

// exchange is SCRAM as sarama wants it.
type exchange struct {
	sasl    secure.SASL
	timeout time.Duration
	talk    *secure.Exchange
	begun   bool
	done    bool
}

// Begin implements sarama's SCRAMClient.
func (x *exchange) Begin(string, string, string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), x.timeout)
	defer cancel()
	x.talk, err = x.sasl.Begin(ctx)
	return err
}

// Step implements sarama's SCRAMClient.
func (x *exchange) Step(challenge string) (string, error) {
	if !x.begun {
		x.begun = true
		return string(x.talk.First()), nil
	}
	answer, done, err := x.talk.Step([]byte(challenge))
	x.done = done
	return string(answer), err
}

// Done implements sarama's SCRAMClient.
func (x *exchange) Done() bool { return x.done }
