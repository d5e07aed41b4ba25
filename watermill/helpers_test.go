package watermill_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/watermill"
)

// patience bounds what a test waits for; only a failing test waits that long.
const patience = 20 * time.Second

func noError(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// cluster is an embedded one, with an independent client.
type cluster struct {
	*checktest.Client
	t    testing.TB
	fake *embedded.Cluster
}

func start(t testing.TB, topics ...embedded.Topic) *cluster {
	t.Helper()
	fake, err := embedded.Start(embedded.Config{Topics: topics})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, fake.Close(), "close the cluster") })
	return &cluster{checktest.Dial(t, fake.Brokers()), t, fake}
}

func (c *cluster) publisher(config watermill.PublisherConfig) *watermill.Publisher {
	c.t.Helper()
	config.Brokers = c.fake.Brokers()
	p, err := watermill.NewPublisher(config, nil)
	noError(c.t, err, "publisher")
	c.t.Cleanup(func() { noError(c.t, p.Close(), "close the publisher") })
	return p
}

func (c *cluster) subscriber(config watermill.SubscriberConfig, log wm.LoggerAdapter) *watermill.Subscriber {
	c.t.Helper()
	config.Brokers = c.fake.Brokers()
	config.CommitInterval = 10 * time.Millisecond
	config.Source.SessionTimeout, config.Source.HeartbeatInterval = 6*time.Second, 50*time.Millisecond
	s, err := watermill.NewSubscriber(config, log)
	noError(c.t, err, "subscriber")
	c.t.Cleanup(func() { noError(c.t, s.Close(), "close the subscriber") })
	return s
}

func subscribe(t testing.TB, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	out, err := s.Subscribe(t.Context(), topic)
	noError(t, err, "subscribe")
	return out
}

func receive(t testing.TB, from <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-from:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return m
	case <-time.After(patience):
		t.Fatalf("no message after %v", patience)
		return nil
	}
}

func ended(t testing.TB, ctx context.Context, what string) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatalf("the context has not ended after %v: %s", patience, what)
	}
}

// numbered are messages with the payloads 0 to n-1.
func numbered(n int) (out []*message.Message) {
	for i := range n {
		out = append(out, message.NewMessage(fmt.Sprintf("id-%d", i), []byte(fmt.Sprint(i))))
	}
	return out
}

// captured is a logger that keeps the errors.
type captured struct {
	wm.NopLogger
	mu   *sync.Mutex
	errs *[]error
}

func capture() captured { return captured{mu: new(sync.Mutex), errs: new([]error)} }

func (c captured) Error(_ string, err error, _ wm.LogFields) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.errs = append(*c.errs, err)
}

func (c captured) With(wm.LogFields) wm.LoggerAdapter { return c }

func (c captured) errors() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]error(nil), *c.errs...)
}
