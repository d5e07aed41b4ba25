package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/watermill"
)

func rec(value string) *kgo.Record {
	return &kgo.Record{Topic: "t", Key: []byte("k"), Value: []byte(value), Headers: []kgo.RecordHeader{
		{Key: watermill.UUIDHeaderKey, Value: []byte("id-" + value)}, {Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")},
	}}
}

func TestSubscribeDelivers(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	at := time.UnixMilli(1_700_000_000_000)
	r := rec("0")
	r.Timestamp = at
	c.Produce(r)
	type mine struct{}
	out, err := c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g"}, nil).Subscribe(context.WithValue(t.Context(), mine{}, "yes"), "t")
	noError(t, err, "subscribe")
	m := receive(t, out)
	ctx := m.Context()
	partition, _ := watermill.MessagePartitionFromCtx(ctx)
	offset, _ := watermill.MessagePartitionOffsetFromCtx(ctx)
	key, _ := watermill.MessageKeyFromCtx(ctx)
	ts, ok := watermill.MessageTimestampFromCtx(ctx)
	got := fmt.Sprint(m.UUID, " ", m.Metadata, " ", string(m.Payload), " ", partition, offset, " ", string(key), ts.Equal(at), ok, " ", ctx.Value(mine{}))
	if want := "id-0 map[a:2] 0 0 0 ktrue true yes"; got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	if _, ok := watermill.MessagePartitionFromCtx(t.Context()); ok {
		t.Error("another context has a partition")
	}
	if ctx.Err() != nil {
		t.Error("the context has ended before the message was acknowledged")
	}
	m.Ack()
	ended(t, ctx, "acknowledged")
}

// What is acknowledged is committed, up to the first that is not, and while that one is
// waited for.
func TestAckCommits(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.Produce(rec("0"), rec("1"), rec("2"))
	sub := c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g"}, nil)
	out := subscribe(t, sub, "t")
	receive(t, out).Ack()
	receive(t, out).Ack()
	held := receive(t, out)
	c.Await("the commit of two", func() bool { return c.Committed("g", "t")[0] == 2 })
	noError(t, sub.Close(), "close")
	ended(t, held.Context(), "closed")
	if at := c.Committed("g", "t")[0]; at != 2 {
		t.Errorf("committed %d, want 2", at)
	}
	next := receive(t, subscribe(t, c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g"}, nil), "t"))
	if string(next.Payload) != "2" {
		t.Errorf("message %s, want the one that was not acknowledged", next.Payload)
	}
	if _, open := <-out; open {
		t.Error("a message after Close")
	}
}

// A message that is refused comes again as it was, and before those after it.
func TestNackDeliversAgain(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.Produce(rec("0"), rec("1"))
	out := subscribe(t, c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g", NackResendSleep: watermill.NoSleep}, nil), "t")
	for range 3 {
		m := receive(t, out)
		if string(m.Payload) != "0" || m.Metadata["a"] != "2" || len(m.Metadata) != 1 {
			t.Fatalf("message %s %v", m.Payload, m.Metadata)
		}
		m.Metadata.Set("a", "changed")
		m.Nack()
		ended(t, m.Context(), "refused")
	}
	receive(t, out).Ack()
	if m := receive(t, out); string(m.Payload) != "1" {
		t.Errorf("message %s, want 1", m.Payload)
	}
}

// A member that holds a message gives its partition to another at once.
func TestRebalanceGivesUpWhatIsHeld(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t", Partitions: 2})
	c.Produce(checktest.To(0, rec("0")), checktest.To(1, rec("1")))
	config := watermill.SubscriberConfig{ConsumerGroup: "g"}
	config.Source.RebalanceTimeout = 10 * patience // of which a quarter would be waited
	out := subscribe(t, c.subscriber(config, nil), "t")
	held := []*message.Message{receive(t, out), receive(t, out)}
	moved := receive(t, subscribe(t, c.subscriber(config, nil), "t"))
	for _, m := range held {
		if string(m.Payload) == string(moved.Payload) {
			ended(t, m.Context(), "given to another member")
		} else if m.Context().Err() != nil {
			t.Errorf("message %s was given up, and did not move", m.Payload)
		}
	}
}

// Without a group everybody receives everything.
func TestSubscribeWithoutGroup(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.Produce(rec("0"))
	sub := c.subscriber(watermill.SubscriberConfig{}, nil)
	for range 2 {
		receive(t, subscribe(t, sub, "t")).Ack()
	}
}

// flaky makes no message of a record until it is told to.
type flaky struct {
	watermill.DefaultMarshaler
	works *atomic.Bool
}

func (f flaky) Unmarshal(m *sarama.ConsumerMessage) (*message.Message, error) {
	if !f.works.Load() {
		return nil, errors.New("cannot read this")
	}
	return f.DefaultMarshaler.Unmarshal(m)
}

// A subscription that fails says so, and is tried again: nothing is skipped.
func TestSubscriptionIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.Produce(rec("0"))
	log, f := capture(), flaky{works: new(atomic.Bool)}
	out := subscribe(t, c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g", Unmarshaler: f, ReconnectRetrySleep: time.Millisecond}, log), "t")
	c.Await("two failures", func() bool { return len(log.errors()) >= 2 })
	if e, ok := errors.AsType[*pipeline.StageError](log.errors()[0]); !ok || e.Origin.Offset != 0 {
		t.Errorf("error %v, want one that says where", log.errors()[0])
	}
	f.works.Store(true)
	if m := receive(t, out); string(m.Payload) != "0" {
		t.Errorf("message %s, want 0", m.Payload)
	}
}

// A channel that nobody reads holds nothing up, and no goroutine is left.
func TestCloseAndCancel(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.Produce(rec("0"))
	sub := c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g"}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	out, err := sub.Subscribe(ctx, "t")
	noError(t, err, "subscribe")
	c.Await("a member", func() bool { return c.Members("g") == 1 })
	cancel()
	c.Await("the end of the subscription", func() bool {
		select {
		case m, open := <-out:
			if open {
				m.Nack()
			}
			return !open
		default:
			return false
		}
	})
	again := subscribe(t, sub, "t") // the subscriber itself goes on
	receive(t, again)
	noError(t, sub.Close(), "close")
	noError(t, sub.Close(), "close again")
	if _, err := sub.Subscribe(t.Context(), "t"); !errors.Is(err, watermill.ErrClosed) {
		t.Errorf("error %v, want %v", err, watermill.ErrClosed)
	}
}

func TestSubscribeCreatesTopics(t *testing.T) {
	t.Parallel()
	c := start(t)
	three := &sarama.TopicDetail{NumPartitions: 3}
	sub := c.subscriber(watermill.SubscriberConfig{ConsumerGroup: "g", InitializeTopicDetails: three}, nil)
	subscribe(t, sub, "new")
	noError(t, sub.SubscribeInitialize("other"), "initialize")
	for _, topic := range []string{"new", "other"} {
		if n := len(c.fake.Fake().PartitionInfos(topic)); n != 3 {
			t.Errorf("%d partitions of %s, want 3", n, topic)
		}
	}
	offsets, err := sub.PartitionOffset("new")
	noError(t, err, "offsets")
	if len(offsets) != 3 {
		t.Errorf("offsets %v, want those of 3 partitions", offsets)
	}
	strict := c.subscriber(watermill.SubscriberConfig{AutoCreateTopics: watermill.NoCreateTopics}, nil)
	if _, err := strict.Subscribe(t.Context(), "missing"); !errors.Is(err, pipeline.ErrMissingTopic) {
		t.Errorf("error %v, want %v", err, pipeline.ErrMissingTopic)
	}
}
