package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
)

func start(t *testing.T, brokers int, topics ...embedded.Topic) *embedded.Cluster {
	t.Helper()
	c, err := embedded.Start(embedded.Config{Brokers: brokers, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func testConfig(brokers []string) Config {
	conn := sarama.NewConfig()
	conn.Version, conn.ClientID = sarama.V4_0_0_0, "send-test"
	return Config{
		Brokers: brokers, Connection: conn, Acks: sarama.WaitForAll, Idempotent: true, TransactionTimeout: 30 * time.Second,
		Compression: sarama.CompressionNone, BatchSize: 1000, Linger: time.Millisecond, BufferMemory: 1 << 20, MaxBlock: 10 * time.Second,
		MaxRequestSize: 1 << 20, MaxInFlight: 5, RequestTimeout: 2 * time.Second, DeliveryTimeout: 30 * time.Second,
		RetryBackoff: 5 * time.Millisecond, RetryBackoffMax: 50 * time.Millisecond, DialTimeout: 2 * time.Second, MetadataMaxAge: time.Minute,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// connect makes a producer that is closed at the end of the test at the latest.
func connect(t *testing.T, cfg Config, p *plan) *Producer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	producer, err := newProducer(ctx, cfg, p.wrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close(context.Background(), 0) })
	return producer
}

// outcomes collects what becomes of records.
type outcomes struct {
	mu   sync.Mutex
	errs []error
}

func (o *outcomes) Complete(_ int64, _ time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

// failed returns the errors among n outcomes.
func (o *outcomes) failed(t *testing.T, n int) (errs []error) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.errs) != n {
		t.Errorf("%d of %d records have an outcome", len(o.errs), n)
	}
	for _, err := range o.errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// send sends values to partitions in turn.
func send(t *testing.T, p *Producer, topic string, o *outcomes, values ...string) {
	t.Helper()
	n, err := p.Partitions(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		r := &Record{Topic: topic, Partition: int32(i) % n, Value: []byte(v), Timestamp: time.Now(), Done: o}
		if err := p.Send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return out
}

// read returns all committed messages of a partition.
func read(t *testing.T, c *embedded.Cluster, topic string, partition int32) (out []*sarama.ConsumerMessage) {
	t.Helper()
	p := connect(t, testConfig(c.Brokers()), &plan{}) // marks the end
	if _, err := p.Partitions(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if err := p.Send(t.Context(), &Record{Topic: topic, Partition: partition, Value: []byte("end"), Timestamp: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	conf := sarama.NewConfig()
	conf.Version, conf.Consumer.IsolationLevel = sarama.V2_8_0_0, sarama.ReadCommitted
	conf.Consumer.MaxWaitTime = 10 * time.Millisecond // Close waits for it
	consumer, err := sarama.NewConsumer(c.Brokers(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for {
		select {
		case m := <-pc.Messages():
			if string(m.Value) == "end" {
				return out
			}
			out = append(out, m)
		case <-time.After(20 * time.Second):
			t.Fatalf("%s-%d does not end: %d messages", topic, partition, len(out))
		}
	}
}

// values returns the sorted values of all partitions, without earlier ends.
func values(t *testing.T, c *embedded.Cluster, topic string, partitions int32) (out []string) {
	t.Helper()
	for id := range partitions {
		last := ""
		for _, m := range read(t, c, topic, id) {
			if v := string(m.Value); v < last {
				t.Errorf("%s-%d: %s after %s", topic, id, v, last)
			}
			last = string(m.Value)
			out = append(out, last)
		}
	}
	slices.Sort(out)
	return out
}

// offset returns a committed offset of a group, -1 for none.
func offset(t *testing.T, c *embedded.Cluster, group, topic string) int64 {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(c.Brokers(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	res, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetBlock(topic, 0).Offset
}

func sendOffset(ctx context.Context, p *Producer, next int64) error {
	return sendOffsetOf(ctx, p, "g", "in", next)
}

func sendOffsetOf(ctx context.Context, p *Producer, group, topic string, next int64) error {
	o := pipeline.Offset{Next: next}
	o.Topic = topic
	return p.SendOffsets(ctx, []pipeline.Offset{o}, pipeline.GroupMetadata{Group: group, Generation: -1})
}

// Whatever request loses its connection, and whenever: the transactions are exact.
func TestEveryRequestMayFail(t *testing.T) {
	keys := map[string]int16{
		"ApiVersions": 18, "Metadata": 3, "FindCoordinator": 10, "InitProducerId": 22, "TxnOffsetCommit": 28, "EndTxn": 26, "Produce": 0,
	}
	old := maps.Clone(keys)
	old["AddPartitionsToTxn"], old["AddOffsetsToTxn"] = 24, 25
	for version, keys := range map[int]map[string]int16{1: old, 2: keys} {
		for name, key := range keys {
			for _, at := range []where{beforeRequest, midRequest, afterRequest} {
				for skip := range 2 {
					t.Run(fmt.Sprintf("version %d, %s %v, number %d", version, name, at, skip+1), func(t *testing.T) {
						t.Parallel()
						requestFails(t, version, &plan{armed: true, key: key, where: at, skip: skip})
					})
				}
			}
		}
	}
}

// requestFails runs transactions while a request loses its connection.
func requestFails(t *testing.T, version int, faults *plan) {
	first := faults.skip == 0
	c := start(t, 1, embedded.Topic{Name: "out", Partitions: 2}, embedded.Topic{Name: "in"})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID = "tx"
	if version == 1 {
		cfg.without = ruleEpochEach
	}
	p := connect(t, cfg, faults)
	var want []string
	for round, commit := range []bool{true, false, true} {
		if err := p.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		o := &outcomes{}
		vs := numbered(fmt.Sprint(round), 40)
		send(t, p, "out", o, vs...)
		if err := sendOffset(t.Context(), p, int64(round+1)); err != nil {
			t.Fatal(err)
		}
		if !commit {
			if err := p.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := p.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if errs := o.failed(t, len(vs)); len(errs) > 0 {
			t.Error(errs[0])
		}
		want = append(want, vs...)
	}
	if err := p.Close(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	if got := values(t, c, "out", 2); !slices.Equal(got, want) {
		t.Errorf("%d values are visible, %d were committed", len(got), len(want))
	}
	if got := offset(t, c, "g", "in"); got != 3 {
		t.Errorf("offset %d", got)
	}
	if faults.hits != 1 && first {
		t.Errorf("the fault did not happen")
	}
}

// Leaders move and brokers come and go while three callers send.
func TestManyBrokers(t *testing.T) {
	c := start(t, 3, embedded.Topic{Name: "a", Partitions: 3}, embedded.Topic{Name: "b", Partitions: 3})
	cfg := testConfig(c.Brokers())
	p := connect(t, cfg, &plan{})
	o := &outcomes{}
	topics := []string{"a", "b"}
	var sending sync.WaitGroup
	const rounds = 8
	for _, topic := range topics {
		sending.Go(func() {
			for round := range rounds {
				send(t, p, topic, o, numbered(fmt.Sprint(round), 60)...)
				if err := p.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	fake := c.Fake()
	for i := range 30 {
		if err := fake.MoveTopicPartition(topics[i%2], int32(i%3), int32((i+i/3)%3)); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	id, _, err := fake.AddNode(-1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for part := range int32(3) {
		if err := fake.MoveTopicPartition("a", part, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := fake.RemoveNode(0); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	if errs := o.failed(t, 2*rounds*60); len(errs) > 0 {
		t.Error(errs[0])
	}
	var want []string
	for round := range rounds {
		want = append(want, numbered(fmt.Sprint(round), 60)...)
	}
	slices.Sort(want)
	for _, topic := range topics {
		if got := values(t, c, topic, 3); !slices.Equal(got, want) {
			t.Errorf("%s: %d values, %d were sent", topic, len(got), len(want))
		}
	}
}

// What was sent is what is read: null and empty, headers, timestamps out of order,
// every codec.
func TestRecordsArriveAsTheyWere(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "t", Partitions: 5})
	now := time.UnixMilli(time.Now().UnixMilli())
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	for id, codec := range codecs {
		cfg := testConfig(c.Brokers())
		cfg.Compression, cfg.CompressionLevel, cfg.Linger = codec, DefaultLevel, time.Second
		p := connect(t, cfg, &plan{})
		if _, err := p.Partitions(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		sent := []Record{
			{Key: nil, Value: []byte("null key"), Timestamp: now},
			{Key: []byte{}, Value: []byte("empty key"), Timestamp: now.Add(-time.Hour)},
			{Key: []byte("null value"), Value: nil, Timestamp: now.Add(time.Hour)},
			{Key: []byte("empty value"), Value: []byte{}, Timestamp: now.Add(time.Minute)},
			{
				Key: []byte("k"), Value: []byte("v"), Timestamp: now,
				Headers: []Header{{Key: "h", Value: []byte("1")}, {Key: "null"}, {Key: "empty", Value: []byte{}}, {Value: []byte("no name")}},
			},
		}
		for _, r := range sent {
			r.Topic, r.Partition = "t", int32(id)
			if err := p.Send(t.Context(), &r); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		got := read(t, c, "t", int32(id))
		if len(got) != len(sent) {
			t.Fatalf("%v: %d of %d records", codec, len(got), len(sent))
		}
		same := func(a, b []byte) bool { return string(a) == string(b) && (a == nil) == (b == nil) }
		for i, m := range got {
			r := sent[i]
			if !same(m.Key, r.Key) || !same(m.Value, r.Value) || !m.Timestamp.Equal(r.Timestamp) || len(m.Headers) != len(r.Headers) {
				t.Errorf("%v: %+v became %+v", codec, r, m)
				continue
			}
			for j, h := range m.Headers {
				if string(h.Key) != r.Headers[j].Key || !same(h.Value, r.Headers[j].Value) {
					t.Errorf("%v: header %+v became %+v", codec, r.Headers[j], h)
				}
			}
		}
	}
}

func TestFencing(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "out"})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID = "tx"
	first := connect(t, cfg, &plan{})
	if err := first.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, first, "out", &outcomes{}, "lost")
	if err := first.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := connect(t, cfg, &plan{})
	if err := second.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, second, "out", &outcomes{}, "kept")
	if err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("commit of the fenced one: %v", err)
	}
	if err := first.Begin(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("begin of the fenced one: %v", err)
	}
	if got := values(t, c, "out", 1); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("visible: %v", got)
	}
}

// noGoroutine fails if something of a producer still runs.
func noGoroutine(t *testing.T) {
	t.Helper()
	var stacks string
	for range 10000 {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "send.(*kafka)") && !strings.Contains(stacks, "send.(*loop)") && !strings.Contains(stacks, "sarama.(*Broker)") {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}
