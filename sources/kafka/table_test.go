package kafkasource_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// TestMain lets many tests run at once: they wait rather than compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

func noError(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// cluster has a topic "table" of two partitions.
func cluster(t *testing.T) (*checktest.Client, *embedded.Cluster) {
	t.Helper()
	c, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{
		{Name: "table", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact"}}, {Name: "in", Partitions: 1},
	}})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, c.Close(), "close") })
	return checktest.Dial(t, c.Brokers()), c
}

func entry(key, value string) *kgo.Record {
	return checktest.To(int32(key[0]%2), &kgo.Record{Topic: "table", Key: []byte(key), Value: []byte(value)})
}

// follower follows the topic in the background.
type follower struct {
	t      *testing.T
	loaded chan struct{}
	done   chan struct{}
	err    error
	cancel context.CancelFunc

	mu    sync.Mutex
	state map[string]string
	seen  int
}

func follow(t *testing.T, c *embedded.Cluster, apply func(*pipeline.Raw) error) *follower {
	t.Helper()
	src := kafkasource.New(kafkasource.Config{Brokers: c.Brokers(), Logger: silent})
	_, err := src.Open(t.Context(), pipeline.Spec{Pipeline: "p", Inputs: []string{"in"}, Tables: []string{"table"}})
	noError(t, err, "open")
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: t, loaded: make(chan struct{}), done: make(chan struct{}), cancel: cancel, state: map[string]string{}}
	go func() {
		defer close(f.done)
		f.err = src.Follow(ctx, "table", func(_ context.Context, r *pipeline.Raw) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seen++
			if r.Value == nil {
				delete(f.state, string(r.Key))
			} else {
				f.state[string(r.Key)] = string(r.Value)
			}
			if apply != nil {
				return apply(r)
			}
			return nil
		}, func() { close(f.loaded) })
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
		noError(t, src.Close(), "close")
	})
	return f
}

func (f *follower) awaitLoaded() {
	f.t.Helper()
	select {
	case <-f.loaded:
	case <-f.done:
		f.t.Fatalf("Follow has ended: %v", f.err)
	case <-time.After(patience):
		f.t.Fatalf("not loaded after %v", patience)
	}
}

func (f *follower) is(want map[string]string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.state) == fmt.Sprint(want)
}

func TestATableIsLoadedToItsEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		write func(t *testing.T, c *checktest.Client, fake *embedded.Cluster)
		want  map[string]string
	}{
		{"nothing", func(*testing.T, *checktest.Client, *embedded.Cluster) {}, map[string]string{}},
		{"entries", func(_ *testing.T, c *checktest.Client, _ *embedded.Cluster) {
			c.Produce(entry("a", "1"), entry("b", "2"), entry("a", "3"))
		}, map[string]string{"a": "3", "b": "2"}},
		{"an entry deleted", func(_ *testing.T, c *checktest.Client, _ *embedded.Cluster) {
			gone := entry("a", "")
			gone.Value = nil
			c.Produce(entry("a", "1"), entry("b", ""), gone)
		}, map[string]string{"b": ""}},
		{"a transaction, ending in control records", func(_ *testing.T, c *checktest.Client, _ *embedded.Cluster) {
			c.ProduceTransaction(true, entry("a", "1"), entry("b", "2"))
		}, map[string]string{"a": "1", "b": "2"}},
		{"an aborted transaction at the end", func(_ *testing.T, c *checktest.Client, _ *embedded.Cluster) {
			c.Produce(entry("a", "1"))
			c.ProduceTransaction(false, entry("a", "2"), entry("b", "3"))
		}, map[string]string{"a": "1"}},
		{"nothing but aborted ones", func(_ *testing.T, c *checktest.Client, _ *embedded.Cluster) {
			c.ProduceTransaction(false, entry("a", "1"), entry("b", "2"))
		}, map[string]string{}},
		{"compacted entries", func(_ *testing.T, c *checktest.Client, fake *embedded.Cluster) {
			for i := range 20 {
				c.Produce(entry("a", fmt.Sprint(i)), entry("b", fmt.Sprint(i)))
			}
			c.ProduceTransaction(false, entry("a", "x"), entry("b", "y"))
			fake.Fake().Compact()
		}, map[string]string{"a": "19", "b": "19"}},
		{"deleted to the end", func(t *testing.T, c *checktest.Client, fake *embedded.Cluster) {
			c.Produce(entry("a", "1"), entry("b", "2"))
			noError(t, fake.Fake().DeleteRecords("table", 0, 1), "delete records")
			noError(t, fake.Fake().DeleteRecords("table", 1, 1), "delete records")
		}, map[string]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, fake := cluster(t)
			tt.write(t, c, fake)
			f := follow(t, fake, nil)
			f.awaitLoaded()
			if !f.is(tt.want) {
				t.Errorf("the table is %v, want %v", f.state, tt.want)
			}
			// It goes on.
			c.Produce(entry("c", "later"))
			tt.want["c"] = "later"
			c.Await("what comes later", func() bool { return f.is(tt.want) })
			f.cancel()
			<-f.done
		})
	}
}

// What an open transaction has written is no part of the table, and does not hold
// up its loading.
func TestATableLoadsBesideAnOpenTransaction(t *testing.T) {
	t.Parallel()
	c, fake := cluster(t)
	c.Produce(entry("a", "1"))
	k, err := kgo.NewClient(kgo.SeedBrokers(fake.Brokers()...), kgo.TransactionalID("open"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	noError(t, err, "client")
	defer k.Close()
	noError(t, k.BeginTransaction(), "begin")
	noError(t, k.ProduceSync(t.Context(), &kgo.Record{Topic: "table", Partition: int32('a' % 2), Key: []byte("a"), Value: []byte("2")}).FirstErr(), "produce")

	f := follow(t, fake, nil)
	f.awaitLoaded()
	if want := map[string]string{"a": "1"}; !f.is(want) {
		t.Errorf("the table is %v, want %v", f.state, want)
	}
	noError(t, k.EndTransaction(t.Context(), kgo.TryCommit), "commit")
	c.Await("the committed entry", func() bool { return f.is(map[string]string{"a": "2"}) })
}

var errNo = errors.New("no")

func TestAnErrorOfApplyEndsFollow(t *testing.T) {
	t.Parallel()
	c, fake := cluster(t)
	c.Produce(entry("a", "1"))
	f := follow(t, fake, func(*pipeline.Raw) error { return errNo })
	select {
	case <-f.done:
	case <-time.After(patience):
		t.Fatal("Follow goes on")
	}
	if !errors.Is(f.err, errNo) {
		t.Errorf("Follow returned %v, want %v", f.err, errNo)
	}
	select {
	case <-f.loaded:
		t.Error("the table counts as loaded")
	default:
	}
}

func TestAMissingTable(t *testing.T) {
	t.Parallel()
	_, fake := cluster(t)
	src := kafkasource.New(kafkasource.Config{Brokers: fake.Brokers(), Logger: silent})
	_, err := src.Open(t.Context(), pipeline.Spec{Pipeline: "p", Inputs: []string{"in"}, Tables: []string{"absent"}})
	if !errors.Is(err, pipeline.ErrMissingTopic) {
		t.Errorf("Open: %v, want %v", err, pipeline.ErrMissingTopic)
	}
	noError(t, src.Close(), "close")
}

// A table has caught up when what was written before has been applied: what an open transaction has
// written once that is committed, or passed when it is aborted.
func TestCaughtUp(t *testing.T) {
	t.Parallel()
	k, c := cluster(t)
	k.Produce(entry("a", "1"))
	src := kafkasource.New(kafkasource.Config{Brokers: c.Brokers(), Logger: silent})
	_, err := src.Open(t.Context(), pipeline.Spec{Pipeline: "p", Inputs: []string{"in"}, Tables: []string{"table"}})
	noError(t, err, "open")
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	state := map[string]string{}
	done := make(chan error, 1)
	go func() {
		done <- src.Follow(ctx, "table", func(_ context.Context, r *pipeline.Raw) error {
			mu.Lock()
			defer mu.Unlock()
			state[string(r.Key)] = string(r.Value)
			return nil
		}, func() {})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		noError(t, src.Close(), "close")
	})
	expect := func(key, want string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if state[key] != want {
			t.Errorf("%s is %q, want %q", key, state[key], want)
		}
	}
	noError(t, src.CaughtUp(t.Context(), "table"), "catching up")
	expect("a", "1")

	tx, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	noError(t, err, "client")
	defer tx.Close()
	for value, how := range map[string]kgo.TransactionEndTry{"committed": kgo.TryCommit, "aborted": kgo.TryAbort} {
		noError(t, tx.BeginTransaction(), "begin")
		noError(t, tx.ProduceSync(t.Context(), &kgo.Record{Topic: "table", Partition: 1, Key: []byte(value), Value: []byte("2")}).FirstErr(), "produce")
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // some looks at the end
		if err := src.CaughtUp(short, "table"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caught up before the transaction ended: %v", err)
		}
		cancel()
		caught := make(chan error, 1)
		go func() { caught <- src.CaughtUp(t.Context(), "table") }()
		noError(t, tx.EndTransaction(t.Context(), how), "end")
		noError(t, <-caught, "catching up")
		expect(value, map[bool]string{true: "2"}[how == kgo.TryCommit])
	}
}
