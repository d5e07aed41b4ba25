package kafka_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// TestMain lets many tests run at once: they wait rather than compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// patience bounds what a test waits for; only a failing test waits that long.
const patience = time.Minute

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// cluster is an embedded one, with an independent client.
type cluster struct {
	*checktest.Client
	t    testing.TB
	fake *embedded.Cluster
}

func start(t testing.TB, cfg embedded.Config, opts ...kgo.Opt) *cluster {
	t.Helper()
	c, err := embedded.Start(cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return &cluster{checktest.Dial(t, c.Brokers(), opts...), t, c}
}

func topic(name string, partitions int) embedded.Topic {
	return embedded.Topic{Name: name, Partitions: partitions}
}

// inOut is a cluster with the topics in and out.
func inOut(t testing.TB, partitions int) *cluster {
	t.Helper()
	return start(t, embedded.Config{Topics: []embedded.Topic{topic("in", partitions), topic("out", partitions)}})
}

// config ends Run at the end of the input.
func (c *cluster) config() kafka.Config {
	return kafka.Config{
		Brokers: c.fake.Brokers(), CommitInterval: 20 * time.Millisecond, UntilEnd: true, Logger: silent,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, StopTimeout: 5 * time.Second,
	}
}

// run runs a pipeline, to its end or an error.
func run(t testing.TB, p *pipeline.Pipeline, cfg kafka.Config) error {
	t.Helper()
	r := launch(t, p, cfg)
	return r.wait()
}

// running is a pipeline that runs in the background. It is stopped at the test's
// end.
type running struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func launch(t testing.TB, p *pipeline.Pipeline, cfg kafka.Config) *running {
	t.Helper()
	return background(t, func(ctx context.Context) error { return kafka.Run(ctx, p, cfg) })
}

func background(t testing.TB, f func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = f(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

func (r *running) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.t.Fatalf("the pipeline has not ended after %v", patience)
		return nil
	}
}

// stop ends it in order.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	noError(r.t, r.wait(), "stop")
}

func noError(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// wantError checks that err is of a kind and says what it should.
func wantError(t testing.TB, err error, kind error, says ...string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("error %v, want one that is %q", err, kind)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

// within checks that f takes less time than that.
func within(t testing.TB, limit time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > limit {
		t.Errorf("it took %v, want at most %v", took, limit)
	}
}

// copying is the smallest pipeline.
func copying(name string) *pipeline.Pipeline {
	p := pipeline.New(name)
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	return p
}

// text makes a record from words.
func text(topic, key, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
}

func numbered(topic string, from, to int) []*kgo.Record {
	var out []*kgo.Record
	for i := from; i < to; i++ {
		out = append(out, text(topic, fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i)))
	}
	return out
}

func values(records []*kgo.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func same[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// positions is the sum of what the group has committed.
func (c *cluster) positions(group, topic string) (sum int64) {
	c.t.Helper()
	for _, at := range c.Committed(group, topic) {
		sum += at
	}
	return sum
}

// journal collects events from several goroutines.
type journal[T any] struct {
	mu  sync.Mutex
	all []T
}

func (j *journal[T]) add(v T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, v)
}

func (j *journal[T]) list() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]T(nil), j.all...)
}
