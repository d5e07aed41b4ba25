package kafka_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Several interceptors, in order; each sees what the one before has changed.
func TestInterceptorsInOrder(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("out", 1), topic("other", 1)}})
	at := time.UnixMilli(1_700_000_000_000)
	events := &journal[string]{}
	named := func(name string) kafka.Interceptor {
		return kafka.InterceptorFuncs{
			Send: func(o *kafka.Outgoing) error {
				events.add(fmt.Sprintf("%s sends %s to %s with %d headers", name, o.Value(), o.Topic, len(o.Headers)))
				o.Topic, o.Timestamp = "other", at
				o.Headers = o.Headers.Add(name, o.Key())
				return nil
			},
			Acknowledgment: func(r kafka.Result, err error) {
				events.add(fmt.Sprintf("%s knows %s %d %v", name, r.Topic, r.Offset, err))
			},
		}
	}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{named("a"), named("b")}})
	noError(t, p.Send(t.Context(), record("k", "v"), func(kafka.Result, error) { events.add("callback") }), "send")
	noError(t, p.Flush(t.Context()), "flush")
	same(t, "events", events.list(), []string{
		"a sends v to out with 0 headers", "b sends v to other with 1 headers", "a knows other 0 <nil>", "b knows other 0 <nil>", "callback",
	})
	got := c.ReadAll("other")
	if len(got) != 1 || len(got[0].Headers) != 2 || got[0].Headers[1].Key != "b" || !got[0].Timestamp.Equal(at) {
		t.Errorf("written: %+v", got)
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Errors and panics of interceptors are counted and logged, not per record, and what
// they have changed is undone; the record is sent.
func TestInterceptorsThatFail(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	log := &syncBuffer{}
	change := func(o *kafka.Outgoing) { o.Topic, o.Headers = "nowhere", o.Headers.Add("bad", nil) }
	good := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error { o.Headers = o.Headers.Add("good", nil); return nil }}
	bad := kafka.InterceptorFuncs{
		Send:           func(o *kafka.Outgoing) error { change(o); return errors.New("bad day") },
		Acknowledgment: func(kafka.Result, error) { panic("bad night") },
	}
	worse := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error { change(o); panic("worse") }}
	p, err := kafka.NewProducer(t.Context(), kafka.ProducerSettings{
		Brokers: c.fake.Brokers(), Interceptors: []kafka.Interceptor{bad, good, worse}, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	noError(t, err, "new producer")
	const n = 100
	for i := range n {
		noError(t, p.Send(t.Context(), record(fmt.Sprint(i), "v"), nil), "send")
	}
	noError(t, p.Flush(t.Context()), "flush")
	if got := p.Metrics().InterceptorFailures; got != 3*n {
		t.Errorf("%d failures counted, want %d", got, 3*n)
	}
	noError(t, p.Close(t.Context()), "close")
	got := c.ReadAll("out")
	if len(got) != n || len(got[0].Headers) != 1 || got[0].Headers[0].Key != "good" {
		t.Errorf("%d records, headers %v", len(got), got[0].Headers)
	}
	if lines := strings.Count(log.String(), "interceptor"); lines == 0 || strings.Count(log.String(), "\n") > 4 {
		t.Errorf("log:\n%s", log)
	}
}

// Interceptors also learn of a record that was not taken, and of one that was refused.
func TestInterceptorsLearnOfErrors(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	c.refuse(kerr.InvalidRecord, always)
	counter, latency := &kafka.ErrorCounter{}, &kafka.LatencyHistogram{}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{counter, latency}})
	bad := record("a", "1")
	bad.Partitioner = kafka.ToPartition(9)
	wantError(t, p.Send(t.Context(), bad, nil), kafka.ErrPartition)
	noError(t, p.Send(t.Context(), record("a", "1"), nil), "send")
	wantError(t, p.Flush(t.Context()), nil)
	if counter.Count("out") != 2 || counter.Count("in") != 0 || latency.Count() != 0 {
		t.Errorf("%d and %d errors, %d latencies", counter.Count("out"), counter.Count("in"), latency.Count())
	}
}

func TestShippedInterceptors(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	host, err := kafka.StampHost("mill")
	noError(t, err, "host")
	own, err := kafka.StampHost("")
	noError(t, err, "host of the operating system")
	counter, latency := &kafka.ErrorCounter{}, &kafka.LatencyHistogram{}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{own, host, kafka.StampSendTime(), counter, latency}})
	before := time.Now().UnixMilli()
	r, err := p.SendSync(t.Context(), record("a", "1"))
	noError(t, err, "send")
	got := c.ReadAll("out")[0].Headers
	if len(got) != 2 || got[0].Key != kafka.HeaderProducerHost || string(got[0].Value) != "mill" {
		t.Errorf("headers %v", got)
	}
	if ms, err := strconv.ParseInt(string(got[1].Value), 10, 64); got[1].Key != kafka.HeaderSendTimestamp || err != nil || ms < before || ms > time.Now().UnixMilli() {
		t.Errorf("send timestamp %v", got[1])
	}
	if latency.Count() != 1 || latency.Quantile(1) < r.Latency.Truncate(time.Microsecond) || latency.Quantile(1) > 2*r.Latency || counter.Count("out") != 0 {
		t.Errorf("latency %v, the result's %v", latency.Quantile(1), r.Latency)
	}
}

type closer struct {
	kafka.InterceptorFuncs
	closed chan struct{}
}

func (c closer) Close() error { close(c.closed); return nil }

func TestInterceptorsAreClosed(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	x := closer{closed: make(chan struct{})}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{x}})
	noError(t, p.Close(t.Context()), "close")
	<-x.closed
}

// A typed front's interceptors see the value before it is encoded, and the key not yet.
func TestInterceptorsSeeTheObject(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("out", 1), topic("gold", 1)}})
	route := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
		if o.Key() != nil {
			t.Errorf("key %q", o.Key())
		}
		if o.Value().(customer).Points > 100 {
			o.Topic = "gold"
		}
		return nil
	}}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{route}})
	customers := kafka.For(p, "out", serde.JSON[customer](), kafka.KeyOf(customer.id, serde.String()))
	_, err := customers.SendMany(t.Context(), []customer{{"a", 1}, {"b", 200}})
	noError(t, err, "send")
	same(t, "out", keys(c.ReadAll("out")), []string{"a"})
	same(t, "gold", keys(c.ReadAll("gold")), []string{"b"})
}

// Interceptors learn how a transaction ends, after the outcomes of its records.
func TestInterceptorsLearnOfTransactions(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	notes := &outcomes{}
	var before []int // outcomes that had been told
	ends := &endings{outcomes: notes, before: &before}
	p := c.producer(kafka.ProducerSettings{TransactionalID: "t", Interceptors: []kafka.Interceptor{ends}})
	one := func(then error) error {
		return p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
			noError(t, tx.Send(t.Context(), record("a", "1"), nil), "send")
			return then
		})
	}
	noError(t, one(nil), "commit")
	wantError(t, one(errRegion), errRegion)
	func() {
		defer func() { _ = recover() }()
		_ = p.InTransaction(t.Context(), func(*kafka.Transaction) error { panic("over") })
	}()
	noError(t, p.Close(t.Context()), "close")
	got := notes.ends.list()
	if len(got) != 3 || got[0] != nil || !errors.Is(got[1], kafka.ErrAborted) || !errors.Is(got[1], errRegion) || !errors.Is(got[2], kafka.ErrAborted) {
		t.Errorf("ends %v", got)
	}
	same(t, "outcomes before them", before, []int{1, 2, 2})
}

type endings struct {
	*outcomes
	before *[]int
}

func (e *endings) OnTransactionEnd(err error) {
	*e.before = append(*e.before, len(e.acks.list()))
	e.outcomes.OnTransactionEnd(err)
}

type customer struct {
	ID     string
	Points int
}

func (c customer) id() string { return c.ID }
