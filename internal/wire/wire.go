// Package wire is a connection to one broker, over sarama's protocol layer, that
// can be given up at any time, and a question to whichever broker answers first.
//
// sarama's calls take no context, hold the Broker's lock for the whole round trip,
// and go on writing to a connection whose reader has failed. So a connection is
// opened once, its first error of any kind is its last, and what ends it is closing
// its net.Conn.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// Config says how to connect.
type Config struct {
	// Connection is what concerns connections: client id, version, TLS.
	Connection *sarama.Config
	// SASL are the credentials, if its mechanism is not empty.
	SASL secure.SASL
	// MaxInFlight bounds the requests under way on one connection.
	MaxInFlight int
	// RequestTimeout bounds one request, DialTimeout half of a connection's set-up.
	RequestTimeout, DialTimeout time.Duration
	// Wrap, if not nil, is put around each connection: tests inject faults here.
	Wrap func(net.Conn) net.Conn
}

// Conn is one connection: a sarama Broker that is opened once.
type Conn struct {
	broker *sarama.Broker
	dial   *dialer
	limit  time.Duration
	client string // our name
}

// dialer is what sarama is given as a dialer, so that we have the connection.
type dialer struct {
	ctx     context.Context // of the opening
	timeout time.Duration
	wrap    func(net.Conn) net.Conn
	tls     *tls.Config // nil for none
	login   *session    // nil for none
	client  string

	mu     sync.Mutex
	raw    net.Conn // what is closed: a TLS connection's own Close would write first
	conn   net.Conn // raw, or TLS over it
	cut    bool
	wanted bool // the broker has asked for a client certificate and got none
}

// Dial implements sarama's dialer: the connection is secured and authenticated.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	conn, err := d.connect(network, addr)
	if err != nil || d.login == nil {
		return conn, err
	}
	if err := d.login.login(d.ctx, conn, d.client); err != nil {
		_ = d.raw.Close()
		return nil, secure.HandshakeFailed(err, addr, d.tls)
	}
	return conn, nil
}

func (d *dialer) connect(network, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, d.timeout)
	if err != nil {
		return nil, err
	}
	if d.wrap != nil {
		conn = d.wrap(conn)
	}
	d.mu.Lock()
	cut := d.cut
	d.raw, d.conn = conn, conn
	d.mu.Unlock()
	if cut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if d.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, d.noting(serverName(d.tls, addr)))
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, secure.HandshakeFailed(err, addr, d.tls)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = secured
	return secured, nil
}

// noting makes a configuration note that a client certificate was asked for and there
// is none.
func (d *dialer) noting(c *tls.Config) *tls.Config {
	if len(c.Certificates) > 0 || c.GetClientCertificate != nil {
		return c
	}
	c = c.Clone()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		d.wanted = true
		return new(tls.Certificate), nil
	}
	return c
}

// serverName makes a configuration check the name that was dialled, unless it
// names another.
func serverName(c *tls.Config, addr string) *tls.Config {
	if c.ServerName != "" {
		return c
	}
	c = c.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		c.ServerName = host
	}
	return c
}

var errNotConnected = errors.New("not connected")

// Open connects and exchanges versions and credentials. It returns when that is
// done, has failed, or ctx has ended.
func (c *Config) Open(ctx context.Context, addr string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.DialTimeout)
	defer cancel()
	w := &Conn{
		broker: sarama.NewBroker(addr), limit: c.RequestTimeout, client: c.Connection.ClientID,
		dial: &dialer{ctx: ctx, timeout: c.DialTimeout, wrap: c.Wrap, client: c.Connection.ClientID},
	}
	if c.SASL.Mechanism != "" {
		w.dial.login = &session{sasl: c.SASL, addr: addr}
	}
	conf := *c.Connection
	conf.Net.SASL.Enable = false
	conf.Net.MaxOpenRequests = c.MaxInFlight + 1
	conf.Net.Proxy.Enable, conf.Net.Proxy.Dialer = true, w.dial
	// The reader's clock starts when it gets to a response: longer than ours, so
	// that it is us who decide.
	conf.Net.ReadTimeout, conf.Net.WriteTimeout = 2*c.RequestTimeout, c.RequestTimeout
	conf.Net.DialTimeout = c.DialTimeout
	if conf.Net.TLS.Enable { // by the dialer, so that the connection can be taken over
		if w.dial.tls = conf.Net.TLS.Config; w.dial.tls == nil {
			w.dial.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		conf.Net.TLS.Enable, conf.Net.TLS.Config = false, nil
	}

	stop := context.AfterFunc(ctx, w.Cut)
	defer stop()
	if err := w.broker.Open(&conf); err != nil {
		w.Close()
		return nil, err
	}
	ok, err := w.broker.Connected()
	if err == nil && !ok {
		err = errNotConnected
	}
	if err != nil {
		err = secure.HandshakeFailed(err, addr, w.dial.tls)
	}
	switch {
	case ctx.Err() == nil:
	case err == nil: // the exchange of versions may have been cut short
		err = context.Cause(ctx)
	default: // what a connection says that was cut tells nothing
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Broker is for requests that need no context.
func (w *Conn) Broker() *sarama.Broker { return w.broker }

// Ask calls f, for RequestTimeout at most and until ctx ends. After an error the
// connection is of no use. One call at a time: before it, credentials are renewed if the
// broker wants that by now (KIP-368).
func (w *Conn) Ask(ctx context.Context, f func(*sarama.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	stop := context.AfterFunc(ctx, w.Cut)
	defer stop()
	err := w.renew(ctx)
	if err == nil {
		err = f(w.broker)
	}
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// renew authenticates again if it is time. Nothing may be under way.
func (w *Conn) renew(ctx context.Context) error {
	if !w.dial.login.due() {
		return nil
	}
	if err := w.dial.login.login(ctx, w.dial.conn, w.client); err != nil {
		return fmt.Errorf("renew the session: %w", err)
	}
	return nil
}

// TakeOver gives the connection away, which has been authenticated, and says up to
// which version the broker takes requests of a kind. Only what it returns is used from
// then on; closing that ends everything.
func (w *Conn) TakeOver(ctx context.Context, apiKey int16) (conn *Taken, version int16, err error) {
	version = -1
	err = w.Ask(ctx, func(b *sarama.Broker) error {
		resp, err := b.ApiVersions(&sarama.ApiVersionsRequest{})
		if err != nil {
			return err
		}
		if code := sarama.KError(resp.ErrorCode); code != sarama.ErrNoError {
			return code
		}
		for _, k := range resp.ApiKeys {
			if k.ApiKey == apiKey {
				version = k.MaxVersion
			}
		}
		return nil
	})
	if err == nil {
		err = w.dial.conn.SetDeadline(time.Time{}) // sarama's, of the requests so far
	}
	return &Taken{Conn: w.dial.conn, raw: w.dial.raw, w: w}, version, err
}

// Taken is a connection that was taken over. It ends with its raw connection: a TLS
// connection's Close would wait for its peer.
type Taken struct {
	net.Conn
	raw net.Conn
	w   *Conn
}

// Due reports whether the broker wants credentials again before the next request, or
// will close the connection soon (KIP-368).
func (t *Taken) Due() bool { return t.w.dial.login.due() }

// Renew gives them, until ctx ends, which closes the connection. No request may be
// under way and nobody else may read or write meanwhile.
func (t *Taken) Renew(ctx context.Context) error {
	defer context.AfterFunc(ctx, t.w.Cut)()
	return t.w.renew(ctx)
}

// Close closes the connection and ends the idle reader that sarama has for it.
func (t *Taken) Close() error {
	err := t.raw.Close()
	_ = t.w.broker.Close()
	return err
}

// Cut closes the connection under everybody who uses it. Any goroutine may call it
// at any time.
func (w *Conn) Cut() {
	w.dial.mu.Lock()
	defer w.dial.mu.Unlock()
	w.dial.cut = true
	if w.dial.raw != nil {
		_ = w.dial.raw.Close()
	}
}

// Close ends the connection for good, and waits for its reader.
func (w *Conn) Close() {
	w.Cut()
	_ = w.broker.Close()
}
