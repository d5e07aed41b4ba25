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

	maxLoginResponse = 1 << 20
)

var errLogin = errors.New("the broker's answer to the login cannot be understood")

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
		return errLogin
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
			return errLogin
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

// call sends one request and reads its answer.
func call(conn net.Conn, clientID string, key, version int16, body []byte) (*answer, error) {
	const correlation = 0x6c656174 // any number
	request := make([]byte, 4, 64+len(body))
	request = binary.BigEndian.AppendUint16(request, uint16(key))
	request = binary.BigEndian.AppendUint16(request, uint16(version))
	request = binary.BigEndian.AppendUint32(request, correlation)
	request = append(appendString(request, clientID), body...)
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxLoginResponse {
		return nil, errLogin
	}
	d := &answer{p: make([]byte, n)}
	if _, err := io.ReadFull(conn, d.p); err != nil {
		return nil, err
	}
	if d.int32() != correlation {
		return nil, errLogin
	}
	return d, nil
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(p, uint16(len(s))), s...)
}

// answer is read from its front. After a mistake it gives zeros.
type answer struct {
	p   []byte
	bad bool
}

// bytes of a negative length are null.
func (d *answer) bytes(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(d.p) {
		d.bad, d.p = true, nil
		return nil
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

func (d *answer) int16() int16 {
	if p := d.bytes(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (d *answer) int32() int32 {
	if p := d.bytes(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (d *answer) int64() int64 {
	if p := d.bytes(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}
