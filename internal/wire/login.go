package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// session is what SASL has agreed with a broker. Credentials are ours rather than
// sarama's to send, so that they are read anew each time, within a context, that
// refusals say what a listener offers instead, and that a connection which is taken
// over can be renewed as well.
type session struct {
	sasl  secure.SASL
	addr  string
	renew time.Time // from when on it is to be renewed, zero for never
}

// The requests of SASL (KIP-43, KIP-152, KIP-368) in their last versions before the
// compact encoding.
const (
	apiHandshake, handshakeVersion       = 17, 1
	apiAuthenticate, authenticateVersion = 36, 1
)

// login authenticates a connection on which nothing is under way, until ctx ends: the
// connection is cut then.
func (s *session) login(ctx context.Context, conn net.Conn, clientID string) error {
	exchange, err := s.sasl.Begin(ctx)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
		defer func() { _ = conn.SetDeadline(time.Time{}) }()
	}
	d, err := call(conn, clientID, apiHandshake, handshakeVersion, appendString(nil, s.sasl.Mechanism))
	if err != nil {
		return fmt.Errorf("SASL handshake: %w", err)
	}
	code, offered := sarama.KError(d.int16()), []string{}
	for range min(d.int32(), 100) {
		offered = append(offered, string(d.bytes(int(d.int16()))))
	}
	switch {
	case d.bad:
		return fmt.Errorf("SASL handshake: %w", errResponse)
	case code != sarama.ErrNoError:
		return s.sasl.MechanismRefused(code, s.addr, offered)
	}
	message := exchange.First()
	for done := false; !done; {
		began := time.Now()
		d, err := call(conn, clientID, apiAuthenticate, authenticateVersion, append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("SASL authentication: the broker has hung up, as some do when user or password is wrong: %w", err)
		}
		if err != nil {
			return fmt.Errorf("SASL authentication: %w", err)
		}
		code, why := sarama.KError(d.int16()), d.bytes(int(d.int16()))
		challenge, lifetime := d.bytes(int(d.int32())), d.int64()
		switch {
		case d.bad:
			return fmt.Errorf("SASL authentication: %w", errResponse)
		case code == sarama.ErrSASLAuthenticationFailed && len(why) > 0:
			return s.sasl.CredentialsRefused(s.addr, fmt.Errorf("%w: %s", code, why))
		case code == sarama.ErrSASLAuthenticationFailed:
			return s.sasl.CredentialsRefused(s.addr, code)
		case code != sarama.ErrNoError:
			return fmt.Errorf("SASL authentication: %w", code)
		}
		if message, done, err = exchange.Step(challenge); err != nil { // the broker has not proved that it knows the password
			return &secure.AuthenticationError{Broker: s.addr, Problem: "it fails SASL " + s.sasl.Mechanism + "'s check of the broker", Err: err}
		}
		s.renew = renewal(began, time.Duration(lifetime)*time.Millisecond)
	}
	return nil
}

// renewal is 70 to 85 % of a session's life, so that not all come at once; zero if it
// has no end. Kafka's own client takes 85 to 95 %, which leaves little time to one that
// is held up.
func renewal(began time.Time, lifetime time.Duration) time.Time {
	if lifetime <= 0 {
		return time.Time{}
	}
	return began.Add(time.Duration(float64(lifetime) * (0.7 + 0.15*rand.Float64())))
}

func (s *session) due() bool { return s != nil && !s.renew.IsZero() && time.Now().After(s.renew) }
