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
	"errors"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Config says how to connect.
type Config struct {
	// Connection is what concerns connections: client id, version, TLS, SASL.
	Connection *sarama.Config
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
}

// dialer is what sarama is given as a dialer, so that we have the connection.
type dialer struct {
	timeout time.Duration
	wrap    func(net.Conn) net.Conn

	mu   sync.Mutex
	conn net.Conn
	cut  bool
}

// Dial implements sarama's dialer.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, d.timeout)
	if err != nil {
		return nil, err
	}
	if d.wrap != nil {
		conn = d.wrap(conn)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	d.conn = conn
	return conn, nil
}

var errNotConnected = errors.New("not connected")

// Open connects and exchanges versions and credentials. It returns when that is
// done, has failed, or ctx has ended.
func (c *Config) Open(ctx context.Context, addr string) (*Conn, error) {
	w := &Conn{broker: sarama.NewBroker(addr), dial: &dialer{timeout: c.DialTimeout, wrap: c.Wrap}, limit: c.RequestTimeout}
	conf := *c.Connection
	conf.Net.MaxOpenRequests = c.MaxInFlight + 1
	conf.Net.Proxy.Enable, conf.Net.Proxy.Dialer = true, w.dial
	// The reader's clock starts when it gets to a response: longer than ours, so
	// that it is us who decide.
	conf.Net.ReadTimeout, conf.Net.WriteTimeout = 2*c.RequestTimeout, c.RequestTimeout
	conf.Net.DialTimeout = c.DialTimeout

	ctx, cancel := context.WithTimeout(ctx, 2*c.DialTimeout)
	defer cancel()
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
	if err == nil && ctx.Err() != nil { // the exchange of versions may have been cut short
		err = context.Cause(ctx)
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
// connection is of no use.
func (w *Conn) Ask(ctx context.Context, f func(*sarama.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	stop := context.AfterFunc(ctx, w.Cut)
	defer stop()
	err := f(w.broker)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// Cut closes the connection under everybody who uses it. Any goroutine may call it
// at any time.
func (w *Conn) Cut() {
	w.dial.mu.Lock()
	defer w.dial.mu.Unlock()
	w.dial.cut = true
	if w.dial.conn != nil {
		_ = w.dial.conn.Close()
	}
}

// Close ends the connection for good, and waits for its reader.
func (w *Conn) Close() {
	w.Cut()
	_ = w.broker.Close()
}
