package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// out is a cluster with the topic out.
func out(t testing.TB, partitions int) *cluster {
	t.Helper()
	return start(t, embedded.Config{Topics: []embedded.Topic{topic("out", partitions)}})
}

// producer is one on the cluster, closed at the test's end.
func (c *cluster) producer(s kafka.ProducerSettings) *kafka.Producer {
	c.t.Helper()
	if s.Brokers == nil {
		s.Brokers = c.fake.Brokers()
	}
	if s.Logger == nil {
		s.Logger = silent
	}
	p, err := kafka.NewProducer(c.t.Context(), s)
	noError(c.t, err, "new producer")
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

func record(key, value string) kafka.Record {
	return kafka.Record{Topic: "out", Key: []byte(key), Value: []byte(value)}
}

// refuse has the cluster answer produce requests with an error, as long as while says.
func (c *cluster) refuse(code *kerr.Error, while func() bool) {
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		if !while() {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, code.Code, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
}

// hold has produce requests wait.
func (c *cluster) hold(until <-chan struct{}) {
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		c.fake.Fake().SleepControl(func() { <-until })
		return nil, nil, false
	})
}

func always() bool { return true }

func TestSendTellsTheCallback(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{})
	at := time.UnixMilli(1_700_000_000_123)
	results := &journal[kafka.Result]{}
	for i := range 3 {
		r := record(fmt.Sprint(i), "v")
		r.Timestamp = at
		r.Headers = pipeline.Headers{{Key: "h", Value: []byte("x")}, {Key: "null"}}
		noError(t, p.Send(t.Context(), r, func(r kafka.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			results.add(r)
		}), "send")
	}
	noError(t, p.Flush(t.Context()), "flush")
	for i, r := range results.list() {
		if r.Topic != "out" || r.Partition != 0 || r.Offset != int64(i) || !r.Timestamp.Equal(at) || r.Latency <= 0 {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	got := c.ReadAll("out")
	same(t, "keys", keys(got), []string{"0", "1", "2"})
	if h := got[0].Headers; len(h) != 2 || h[0].Key != "h" || string(h[0].Value) != "x" || h[1].Value != nil || !got[0].Timestamp.Equal(at) {
		t.Errorf("headers %v, timestamp %v", h, got[0].Timestamp)
	}
}

// A send's slices are the caller's when it returns.
func TestSendCopies(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Linger: time.Second}})
	r := record("key", "value")
	noError(t, p.Send(t.Context(), r, nil), "send")
	copy(r.Key, "xxx")
	copy(r.Value, "xxxxx")
	noError(t, p.Flush(t.Context()), "flush")
	got := c.ReadAll("out")
	same(t, "record", []string{string(got[0].Key), string(got[0].Value)}, []string{"key", "value"})
}

func TestSendSyncFutureAndMany(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{})
	ctx := t.Context()
	r, err := p.SendSync(ctx, record("a", "1"))
	noError(t, err, "send")
	f, err := p.SendFuture(ctx, record("b", "2"))
	noError(t, err, "send")
	<-f.Done()
	r2, err := f.Wait(ctx)
	noError(t, err, "wait")
	many, err := p.SendMany(ctx, []kafka.Record{record("c", "3"), record("d", "4")})
	noError(t, err, "send many")
	same(t, "offsets", []int64{r.Offset, r2.Offset, many[0].Offset, many[1].Offset}, []int64{0, 1, 2, 3})
	if none, err := p.SendMany(ctx, nil); err != nil || len(none) != 0 {
		t.Errorf("nothing sent: %v, %v", none, err)
	}
	same(t, "values", values(c.ReadAll("out")), []string{"1", "2", "3", "4"})
}

// One record's fault is not the others'.
func TestSendManyReportsEach(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{})
	bad := record("b", "2")
	bad.Partitioner = kafka.ToPartition(7)
	many, err := p.SendMany(t.Context(), []kafka.Record{record("a", "1"), bad, record("c", "3")})
	failed, ok := errors.AsType[*kafka.UndeliveredError](err)
	if !ok || failed.Records != 1 || !errors.Is(err, kafka.ErrPartition) {
		t.Errorf("error %v", err)
	}
	if many[0].Err != nil || many[2].Err != nil || !errors.Is(many[1].Err, kafka.ErrPartition) || many[1].Offset != -1 {
		t.Errorf("outcomes %+v", many)
	}
	same(t, "values", values(c.ReadAll("out")), []string{"1", "3"})
}

// A wait ends with its context; the record goes on.
func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Linger: time.Minute}})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	f, err := p.SendFuture(ctx, record("a", "1"))
	noError(t, err, "send")
	cancel(cause)
	if _, err := f.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("wait: %v", err)
	}
	if got, err := p.SendMany(ctx, []kafka.Record{record("b", "2")}); !errors.Is(err, cause) || !errors.Is(got[0].Err, cause) {
		t.Errorf("send many: %v, %+v", err, got)
	}
	noError(t, p.Flush(t.Context()), "flush")
	if r, err := f.Wait(t.Context()); err != nil || r.Offset != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Flush reports, once, what was taken and not written, whoever else was told.
func TestFlushReportsFailures(t *testing.T) {
	t.Parallel()
	c := out(t, 2)
	c.refuse(kerr.TopicAuthorizationFailed, always)
	p := c.producer(kafka.ProducerSettings{})
	for i := range 25 {
		r := record("k", "secret")
		r.Partitioner = kafka.ToPartition(1)
		var done kafka.Callback
		if i%2 == 0 {
			done = func(_ kafka.Result, err error) {
				if err == nil {
					t.Error("written")
				}
			}
		}
		noError(t, p.Send(t.Context(), r, done), "send")
	}
	err := p.Flush(t.Context())
	failed, ok := errors.AsType[*kafka.UndeliveredError](err)
	if !ok || failed.Records != 25 || len(failed.Errors) != 10 {
		t.Fatalf("flush: %v", err)
	}
	e := failed.Errors[0]
	if e.Topic != "out" || e.Partition != 1 || e.Attempts != 1 || e.Class != kafka.Fatal || e.Code() != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("%+v", e)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error has a payload: %v", err)
	}
	noError(t, p.Flush(t.Context()), "the next flush")
}

// Partitions that are added are used, with and without a callback.
func TestProducerUsesAddedPartitions(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{MetadataMaxAge: 20 * time.Millisecond, RetryBackoff: 5 * time.Millisecond}, Partitioner: kafka.EachInTurn()})
	_, err := p.SendSync(t.Context(), record("a", "1"))
	noError(t, err, "send")
	c.AddPartitions("out", 3)
	c.Await("records in the new partitions", func() bool {
		noError(t, p.Send(t.Context(), record("a", "1"), nil), "send")
		noError(t, p.Flush(t.Context()), "flush")
		ends := c.Ends("out", false)
		return ends[1] > 0 && ends[2] > 0
	})
	r := record("a", "1")
	r.Partitioner = kafka.ToPartition(2)
	got, err := p.SendSync(t.Context(), r)
	noError(t, err, "send")
	if got.Partition != 2 {
		t.Errorf("partition %d", got.Partition)
	}
}

func TestATopicThatDoesNotExist(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{})
	within(t, 5*time.Second, func() {
		err := p.Send(t.Context(), kafka.Record{Topic: "none"}, func(kafka.Result, error) { t.Error("told") })
		wantError(t, err, pipeline.ErrMissingTopic, "none")
		if kafka.ClassOf(err) != kafka.Fatal {
			t.Errorf("class %v", kafka.ClassOf(err))
		}
	})
	noError(t, p.Flush(t.Context()), "flush") // it was not taken
}

// Close writes what is there; after it nothing is taken, and its goroutine is gone.
func TestCloseWritesWhatIsThere(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Linger: time.Minute}})
	told := make(chan struct{})
	noError(t, p.Send(t.Context(), record("a", "1"), func(kafka.Result, error) { close(told) }), "send")
	noError(t, p.Close(t.Context()), "close")
	<-told
	wantError(t, p.Send(t.Context(), record("b", "2"), nil), kafka.ErrClosed)
	noError(t, p.Close(t.Context()), "close again")
	same(t, "values", values(c.ReadAll("out")), []string{"1"})
}

// Close does not wait longer than its context; callbacks are told nevertheless.
func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	c.refuse(kerr.NotEnoughReplicas, always)
	p := c.producer(kafka.ProducerSettings{})
	told := make(chan error, 1)
	noError(t, p.Send(t.Context(), record("a", "1"), func(_ kafka.Result, err error) { told <- err }), "send")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, func() { wantError(t, p.Close(ctx), kafka.ErrClosed) })
	if err := <-told; !errors.Is(err, kafka.ErrClosed) || kafka.ClassOf(err) != kafka.Recoverable {
		t.Errorf("the callback is told %v", err)
	}
}

// Nothing of a producer is left behind, also if it could not start.
func TestProducersLeaveNothingBehind(t *testing.T) {
	checktest.NoLeaks(t, "github.com/IBM/sarama", "leat-stream/leat/sinks/kafka.", "leat-stream/leat/internal/send.", "leat-stream/leat/internal/cluster.")
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("a", "1"), nil) }), "transaction")
	noError(t, p.Close(t.Context()), "close")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.fake.Brokers()}); err == nil {
		t.Error("a producer was made after its context's end")
	}
	c.fake.Fake().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		return nil, errors.New("cut"), true
	})
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.fake.Brokers(), Logger: silent})
	wantError(t, err, context.DeadlineExceeded)
}

func TestManySendersOneProducer(t *testing.T) {
	t.Parallel()
	c := out(t, 3)
	p := c.producer(kafka.ProducerSettings{MaxPending: 50})
	var all sync.WaitGroup
	told := &journal[int64]{}
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				done := func(r kafka.Result, err error) { told.add(r.Offset) }
				if i%2 == 0 {
					done = nil
				}
				if err := p.Send(t.Context(), record(fmt.Sprintf("%d", g), fmt.Sprintf("%d-%d", g, i)), done); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	noError(t, p.Flush(t.Context()), "flush")
	if n := len(told.list()); n != 800 {
		t.Errorf("%d callbacks, want 800", n)
	}
	next := map[string]int{}
	records := c.ReadAll("out")
	for _, r := range records {
		if want := fmt.Sprintf("%s-%d", r.Key, next[string(r.Key)]); string(r.Value) != want {
			t.Fatalf("%s comes where %s should", r.Value, want)
		}
		next[string(r.Key)]++
	}
	if len(records) != 1600 {
		t.Errorf("%d records", len(records))
	}
	if m := p.Metrics(); m.Pending != 0 || m.QueuedRecords != 0 || m.InFlightRecords != 0 {
		t.Errorf("left: %+v", m)
	}
}

func TestNewProducerRefuses(t *testing.T) {
	_, err := kafka.NewProducer(t.Context(), kafka.ProducerSettings{
		TransactionalID: "id", MaxPending: -1, MaxHeaders: -1, Interceptors: []kafka.Interceptor{nil},
		Producer: kafka.ProducerConfig{
			Acks: kafka.AcksLeader, Idempotence: kafka.IdempotenceOn, MaxInFlight: -1, CompressionLevel: 3, MaxBlock: -5,
			RetryBackoff: 2 * time.Second, RetryBackoffMax: time.Second,
		},
	})
	wantError(t, err, pipeline.ErrInvalid, "address", "TransactionalID", "MaxPending", "Interceptors", "Idempotence", "MaxInFlight",
		"CompressionLevel", "MaxBlock", "RetryBackoffMax")
	within(t, 10*time.Second, func() {
		_, err = kafka.NewProducer(t.Context(), kafka.ProducerSettings{Brokers: []string{"127.0.0.1:1"}})
		wantError(t, err, kafka.ErrUnreachable)
	})
}
