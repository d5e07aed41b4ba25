package send

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// wire is one connection: a sarama Broker that is opened once. sarama's calls take
// no context, and its Close waits for the call under way, so what ends a wire is
// closing its net.Conn, which cut does at any time from any goroutine.
type wire struct {
	broker *sarama.Broker
	dial   *wireDialer
}

// wireDialer is the dialer that sarama is given, so that we have the connection.
type wireDialer struct {
	timeout time.Duration
	wrap    func(net.Conn) net.Conn // tests put faults here

	mu   sync.Mutex
	conn net.Conn
	cut  bool
}

// Dial implements sarama's dialer.
func (d *wireDialer) Dial(network, addr string) (net.Conn, error) {
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

func (w *wire) cut() {
	w.dial.mu.Lock()
	defer w.dial.mu.Unlock()
	w.dial.cut = true
	if w.dial.conn != nil {
		_ = w.dial.conn.Close()
	}
}

// close ends the wire for good.
func (w *wire) close() {
	w.cut()
	_ = w.broker.Close()
}

var errNotConnected = errors.New("not connected")

// open connects and exchanges versions and credentials. It returns when that is
// done, has failed, or ctx has ended.
func (k *kafka) open(ctx context.Context, addr string) (*wire, error) {
	w := &wire{broker: sarama.NewBroker(addr), dial: &wireDialer{timeout: k.cfg.DialTimeout, wrap: k.wrap}}
	conf := *k.cfg.Connection
	conf.Net.MaxOpenRequests = k.cfg.MaxInFlight + 1
	conf.Net.Proxy.Enable, conf.Net.Proxy.Dialer = true, w.dial
	// The reader's clock starts when it gets to a response: longer than ours, so
	// that it is us who decide.
	conf.Net.ReadTimeout, conf.Net.WriteTimeout = 2*k.cfg.RequestTimeout, k.cfg.RequestTimeout
	conf.Net.DialTimeout = k.cfg.DialTimeout

	ctx, cancel := context.WithTimeout(ctx, 2*k.cfg.DialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, w.cut)
	defer stop()
	if err := w.broker.Open(&conf); err != nil {
		w.close()
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
		w.close()
		return nil, err
	}
	return w, nil
}

// ask calls f with a time limit on it; f's wire is of no use after an error.
func (w *wire) ask(ctx context.Context, limit time.Duration, f func(*sarama.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, w.cut)
	defer stop()
	err := f(w.broker)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}
