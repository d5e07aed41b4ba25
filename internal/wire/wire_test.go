package wire_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/wire"
)

func config() *wire.Config {
	conf := sarama.NewConfig()
	conf.Version = sarama.V4_0_0_0
	return &wire.Config{Connection: conf, MaxInFlight: 1, RequestTimeout: 10 * time.Second, DialTimeout: 10 * time.Second}
}

func broker(t *testing.T) string {
	t.Helper()
	c, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.Brokers()[0]
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func metadata(b *sarama.Broker) error {
	_, err := b.GetMetadata(&sarama.MetadataRequest{Version: 7, Topics: []string{}})
	return err
}

// One broker that has stopped costs a second, not a time-out.
func TestAnyDoesNotWaitForOne(t *testing.T) {
	began := time.Now()
	if err := config().Any(t.Context(), []string{silent(t), silent(t), broker(t)}, metadata); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAnyReportsAll(t *testing.T) {
	refused := errors.New("refused")
	var asked atomic.Int32
	err := config().Any(t.Context(), []string{broker(t), broker(t)}, func(*sarama.Broker) error {
		asked.Add(1)
		return refused
	})
	if !errors.Is(err, refused) || asked.Load() != 2 {
		t.Errorf("%d were asked: %v", asked.Load(), err)
	}
}

// Opening and asking end with their context, whatever the broker does.
func TestContextEndsAnything(t *testing.T) {
	c := config()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.Open(ctx, silent(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a broker that says nothing was connected to until %v", err)
	}
	w, err := c.Open(t.Context(), broker(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = w.Ask(ctx, func(b *sarama.Broker) error { // a long poll
		_, err := b.JoinGroup(&sarama.JoinGroupRequest{GroupId: "g", SessionTimeout: 30000, ProtocolType: "consumer"})
		for err == nil {
			err = metadata(b)
		}
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked until %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// deadlines remembers what a connection's were set to last.
type deadlines struct {
	net.Conn
	read, write atomic.Int64 // unix ns, 0 for none
}

func (d *deadlines) set(at time.Time, which ...*atomic.Int64) {
	for _, w := range which {
		w.Store(0)
		if !at.IsZero() {
			w.Store(at.UnixNano())
		}
	}
}

func (d *deadlines) SetDeadline(at time.Time) error {
	d.set(at, &d.read, &d.write)
	return d.Conn.SetDeadline(at)
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set(at, &d.read)
	return d.Conn.SetReadDeadline(at)
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set(at, &d.write)
	return d.Conn.SetWriteDeadline(at)
}

// A connection that is taken over has no deadline any more: sarama's were for its own
// requests, and would cut it in the midst of later ones.
func TestTakeOver(t *testing.T) {
	cfg := config()
	var had *deadlines
	cfg.Wrap = func(c net.Conn) net.Conn { had = &deadlines{Conn: c}; return had }
	w, err := cfg.Open(t.Context(), broker(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, version, err := w.TakeOver(t.Context(), 0)
	if err != nil || version < 8 {
		t.Fatalf("up to version %d: %v", version, err)
	}
	if had.read.Load() != 0 || had.write.Load() != 0 {
		t.Errorf("deadlines were left behind: reading %v, writing %v", time.Unix(0, had.read.Load()), time.Unix(0, had.write.Load()))
	}
	// ApiVersions version 0, correlation id 7, no client id.
	if _, err := conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 8)
	if _, err := conn.Read(answer); err != nil || answer[7] != 7 {
		t.Errorf("the answer begins with %v: %v", answer, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(answer); err == nil {
		t.Error("a closed connection was read")
	}
}
