package watermill_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/watermill"
)

func TestPublishWrites(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	p := c.publisher(watermill.PublisherConfig{Marshaler: watermill.NewWithPartitioningMarshaler(byKey)})
	full := message.NewMessage("id", []byte("payload"))
	full.Metadata = message.Metadata{"partition_key": "k", "a": "1"}
	noError(t, p.Publish("t", full, message.NewMessage("tombstone", nil)), "publish")
	got := c.ReadAll("t")
	if len(got) != 2 {
		t.Fatalf("%d records, want 2", len(got))
	}
	r := got[0]
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, h.Key+"="+string(h.Value))
	}
	if s := fmt.Sprintf("%s %s %v", r.Key, r.Value, headers); s != "k payload [_watermill_message_uuid=id a=1 partition_key=k]" {
		t.Errorf("record %s", s)
	}
	if got[1].Value != nil {
		t.Errorf("a nil payload became %q, want null", got[1].Value)
	}
}

// byKey chooses a record's key.
func byKey(_ string, msg *message.Message) (string, error) {
	return msg.Metadata.Get("partition_key"), nil
}

// The messages of a call travel together.
func TestPublishIsBatched(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	var requests atomic.Int64
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		requests.Add(1)
		return nil, nil, false
	})
	p := c.publisher(watermill.PublisherConfig{})
	const n = 2000
	noError(t, p.Publish("t", numbered(n)...), "publish")
	if got := requests.Load(); got > n/20 {
		t.Errorf("%d requests for %d messages", got, n)
	}
	for i, r := range c.ReadAll("t") {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, r.Value)
		}
	}
}

func TestPublishReportsWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	c.fake.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic, part := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		topic.Topic, topic.TopicID, part.ErrorCode = req.Topics[0].Topic, req.Topics[0].TopicID, kerr.InvalidRecord.Code
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	err := c.publisher(watermill.PublisherConfig{}).Publish("t", numbered(1)...)
	if e, ok := errors.AsType[*kafka.UndeliveredError](err); !ok || e.Records != 1 {
		t.Errorf("error %v, want one record undelivered", err)
	}
}

func TestPublishCreatesTopics(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.publisher(watermill.PublisherConfig{TopicDetails: &sarama.TopicDetail{NumPartitions: 3}})
	noError(t, p.Publish("new", numbered(10)...), "publish")
	if n := len(c.fake.Fake().PartitionInfos("new")); n != 3 {
		t.Errorf("%d partitions, want 3", n)
	}
	if n := len(c.ReadAll("new")); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
	err := c.publisher(watermill.PublisherConfig{AutoCreateTopics: watermill.NoCreateTopics}).Publish("other", numbered(1)...)
	if !errors.Is(err, pipeline.ErrMissingTopic) {
		t.Errorf("error %v, want %v", err, pipeline.ErrMissingTopic)
	}
}

// What cannot be marshaled keeps the others of the call back, too.
func TestPublishMarshalsFirst(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	p := c.publisher(watermill.PublisherConfig{})
	bad := message.NewMessage("bad", nil)
	bad.Metadata.Set(watermill.UUIDHeaderKey, "x")
	err := p.Publish("t", message.NewMessage("good", nil), bad)
	if err == nil || !strings.Contains(err.Error(), "message bad") || !strings.Contains(err.Error(), watermill.UUIDHeaderKey) {
		t.Errorf("error %v", err)
	}
	if got := c.ReadAll("t"); len(got) != 0 {
		t.Errorf("%d records were written", len(got))
	}
}

func TestPublishAfterClose(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Topic{Name: "t"})
	p := c.publisher(watermill.PublisherConfig{})
	noError(t, p.Close(), "close")
	noError(t, p.Close(), "close again")
	if err := p.Publish("t", numbered(1)...); !errors.Is(err, kafka.ErrClosed) {
		t.Errorf("error %v, want %v", err, kafka.ErrClosed)
	}
}

func TestConfigsReportAllMistakes(t *testing.T) {
	t.Parallel()
	_, err := watermill.NewPublisher(watermill.PublisherConfig{
		AutoCreateTopics: 7, TopicDetails: &sarama.TopicDetail{NumPartitions: -2}, Producer: kafka.ProducerSettings{TransactionalID: "x"},
	}, nil)
	says(t, err, "AutoCreateTopics", "partitions", "TransactionalID", "Brokers")
	bad := watermill.SubscriberConfig{NackResendSleep: -2, ReconnectRetrySleep: -2, CommitInterval: -1}
	bad.Source.UntilEnd, bad.Source.Instance = true, "i"
	_, err = watermill.NewSubscriber(bad, nil)
	says(t, err, "NackResendSleep", "ReconnectRetrySleep", "CommitInterval", "UntilEnd", "ConsumerGroup", "Brokers")
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatalf("error %v, want one that is %v", err, pipeline.ErrInvalid)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestSaramaHash(t *testing.T) {
	t.Parallel()
	want := sarama.NewHashPartitioner("t")
	for i := range 1000 {
		key := []byte(fmt.Sprint("key ", i))
		for _, n := range []int32{1, 3, 50} {
			p, err := want.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, n)
			noError(t, err, "partition")
			if got := watermill.SaramaHash.Partition("t", key, nil, n); got != p {
				t.Fatalf("partition %d of %d for %q, sarama's is %d", got, n, key, p)
			}
		}
	}
	if got := watermill.SaramaHash.Partition("t", nil, nil, 3); got != pipeline.AnyPartition {
		t.Errorf("without a key: %d", got)
	}
}
