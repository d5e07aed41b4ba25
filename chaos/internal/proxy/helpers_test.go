package proxy

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// announced is a listener that gives itself out for another's address, as a broker
// behind a proxy does.
type announced struct {
	net.Listener
	addr net.Addr
}

func (a announced) Addr() net.Addr { return a.addr }

// bench is a fake cluster behind a proxy.
type bench struct {
	*Proxy
	t      *testing.T
	fake   *kfake.Cluster
	direct map[string]string // a proxy's address to the broker's own

	mu   sync.Mutex
	seen []kmsg.Key // requests that the cluster has got
}

// newBench starts a cluster whose brokers are 0, 1, ...
func newBench(t *testing.T, brokers int, opts ...kfake.Opt) *bench {
	t.Helper()
	checktest.NoLeaks(t, "chaos/internal/proxy")
	var own []net.Listener
	c := Config{Brokers: map[int32]Broker{}}
	for node := range brokers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, l)
		c.Brokers[int32(node)] = Broker{Upstream: l.Addr().String()}
	}
	b := &bench{t: t, direct: map[string]string{}}
	var err error
	if b.Proxy, err = Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	next := 0
	listen := func(string, string) (net.Listener, error) {
		addr := b.gates[int32(next)].listener.Addr()
		l := announced{own[next], addr}
		b.direct[addr.String()] = own[next].Addr().String()
		next++
		return l, nil
	}
	opts = append([]kfake.Opt{kfake.NumBrokers(brokers), kfake.ListenFn(listen)}, opts...)
	if b.fake, err = kfake.NewCluster(opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.fake.Close)
	b.fake.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.fake.KeepControl()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, kmsg.Key(r.Key()))
		return nil, nil, false
	})
	return b
}

// got counts the requests of a kind that the cluster has got.
func (b *bench) got(key kmsg.Key) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.seen {
		if k == key {
			n++
		}
	}
	return n
}

// client is a client through the proxy.
func (b *bench) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

// around is a client past the proxy.
func (b *bench) around(opts ...kgo.Opt) *kgo.Client {
	return b.client(append(opts, kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, b.direct[addr])
	}))...)
}

// fast has a client retry sooner than it does of itself, and also when a connection
// ends during its first request, which it otherwise takes for a sign of TLS.
var fast = slices.Clip([]kgo.Opt{
	kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond),
	kgo.AlwaysRetryEOF(),
})

// create asks a broker to create a topic, once.
func create(ctx context.Context, cl *kgo.Client, topic string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 1
	req.Topics = append(req.Topics, rt)
	_, err := cl.Broker(0).Request(ctx, req)
	return err
}

// exists asks around the proxy.
func (b *bench) exists(topic string) bool {
	return slices.Contains(b.topics(), topic)
}

func (b *bench) topics() (all []string) {
	b.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	cl := b.around()
	defer cl.Close()
	resp, err := req.RequestWith(within(b.t), cl)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		all = append(all, *topic.Topic)
	}
	return all
}

// within bounds a wait.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits for a result that comes on a channel.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// background runs something that a rule strikes.
func background[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// values reads a topic's partition 0 around the proxy, up to n records.
func (b *bench) values(topic string, n int, opts ...kgo.Opt) (all []string) {
	b.t.Helper()
	cl := b.around(append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))...)
	defer cl.Close()
	for len(all) < n {
		fetches := cl.PollFetches(within(b.t))
		must(b.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
	}
	return all
}
