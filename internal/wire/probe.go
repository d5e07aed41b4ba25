package wire

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// Diagnose finds out what a listener wants that a connection to it has failed for
// without a clear answer: TLS, SASL, or neither. It sends nothing of ours but a
// client id, and returns nil if it finds nothing.
func (c *Config) Diagnose(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	encrypted := c.Connection.Net.TLS.Enable
	code, offered, err := c.peek(ctx, addr, encrypted)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil && c.SASL.Mechanism == "" && code == sarama.ErrUnsupportedSASLMechanism:
		return secure.Wanted(addr, "its listener wants SASL; set SASL with one of its mechanisms, "+strings.Join(offered, ", "))
	case err == nil:
		return nil
	case secure.Refused(err):
		return err
	}
	if _, _, err := c.peek(ctx, addr, !encrypted); err == nil || secure.Refused(err) {
		if encrypted {
			return secure.Wanted(addr, "it does not speak TLS here; use the port of its TLS listener, or leave TLS nil")
		}
		return secure.Wanted(addr, "its listener wants TLS; set TLS (kafka.TLSFiles), or use the port of another listener")
	}
	return nil
}

// peek asks a listener for the mechanisms it offers.
func (c *Config) peek(ctx context.Context, addr string, encrypted bool) (code sarama.KError, offered []string, err error) {
	d := &dialer{ctx: ctx, timeout: c.DialTimeout}
	if encrypted {
		if d.tls = c.Connection.Net.TLS.Config; d.tls == nil {
			d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return 0, nil, err
	}
	defer d.raw.Close()
	defer context.AfterFunc(ctx, func() { _ = d.raw.Close() })()
	answer, err := call(conn, c.Connection.ClientID, apiHandshake, handshakeVersion, appendString(nil, "NONE"))
	if err != nil {
		if err = secure.HandshakeFailed(err, addr, d.tls); d.wanted && !secure.Refused(err) && ctx.Err() == nil {
			err = secure.CertificateWanted(addr, err) // the alert that says so may be lost
		}
		return 0, nil, err
	}
	code = sarama.KError(answer.int16())
	for range min(answer.int32(), 100) {
		offered = append(offered, string(answer.bytes(int(answer.int16()))))
	}
	if answer.bad {
		return 0, nil, errResponse
	}
	return code, offered, nil
}
