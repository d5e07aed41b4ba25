//go:build real

package watermill_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	kafkasource "github.com/leat-stream/leat/sources/kafka"
	"github.com/leat-stream/leat/watermill"
)

// realBrokers are those of the environment, and restart is what restarts them.
func realBrokers(t testing.TB) (brokers []string, restart string) {
	t.Helper()
	brokers, restart = strings.Split(os.Getenv("LEAT_TEST_BROKERS"), ","), os.Getenv("LEAT_TEST_RESTART")
	if brokers[0] == "" || restart == "" {
		t.Fatal("LEAT_TEST_BROKERS and LEAT_TEST_RESTART are not set; scripts/test-real sets them")
	}
	return brokers, restart
}

// The partitions of the suite's topics; watermill-kafka's own run has 50.
const suitePartitions = 8

func newPubSub(t *testing.T, m watermill.MarshalerUnmarshaler, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	brokers, _ := realBrokers(t)
	log, flights := wm.NewStdLogger(false, false), &inFlight{until: map[string]chan struct{}{}}
	details := &sarama.TopicDetail{NumPartitions: suitePartitions, ReplicationFactor: 1}
	pub, err := watermill.NewPublisher(watermill.PublisherConfig{Brokers: brokers, Marshaler: m, TopicDetails: details}, log)
	noError(t, err, "publisher")
	sub, err := watermill.NewSubscriber(watermill.SubscriberConfig{
		Brokers: brokers, Unmarshaler: landed{m, flights}, ConsumerGroup: group, InitializeTopicDetails: details,
		Source: kafkasource.Config{SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond},
	}, log)
	noError(t, err, "subscriber")
	return announcing{pub, flights}, sub
}

// The suite's TestReconnect compares what it has received with what its publishers have
// told so far: of a message that arrives before its Publish has returned, as many do here,
// it says that nobody sent it. So those are read when Publish has returned.
type inFlight struct {
	mu    sync.Mutex
	until map[string]chan struct{}
}

type announcing struct {
	message.Publisher
	flights *inFlight
}

func (a announcing) Publish(topic string, messages ...*message.Message) error {
	done := make(chan struct{})
	defer close(done)
	a.flights.mu.Lock()
	for _, m := range messages {
		a.flights.until[m.UUID] = done
	}
	a.flights.mu.Unlock()
	return a.Publisher.Publish(topic, messages...)
}

type landed struct {
	watermill.MarshalerUnmarshaler
	flights *inFlight
}

func (l landed) Unmarshal(r *sarama.ConsumerMessage) (*message.Message, error) {
	msg, err := l.MarshalerUnmarshaler.Unmarshal(r)
	if err != nil {
		return nil, err
	}
	l.flights.mu.Lock()
	done := l.flights.until[msg.UUID] // nil if it is another's
	l.flights.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-time.After(time.Second): // the brokers are down
		}
	}
	return msg, nil
}

// suite runs Watermill's conformance suite: a short form of it, which restarts no broker
// and takes seconds, unless LEAT_TEST_FULL is set.
func suite(t *testing.T, features tests.Features, m watermill.MarshalerUnmarshaler, withGroup bool) {
	_, restart := realBrokers(t)
	features.Persistent, features.RestartServiceCommand = true, []string{restart}
	features.ForceShort = os.Getenv("LEAT_TEST_FULL") == ""
	prefix := "suite-" + rand.Text()[:8] + "-"
	features.GenerateTopicFunc = func(c tests.TestContext) string { return prefix + string(c.TestID) }
	t.Cleanup(func() { deleteTopics(t, prefix) }) // a restart takes longer with each topic
	grouped := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		return newPubSub(t, m, group)
	}
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
		if !withGroup {
			return newPubSub(t, m, "")
		}
		return newPubSub(t, m, "test")
	}, grouped)
}

func deleteTopics(t *testing.T, prefix string) {
	brokers, _ := realBrokers(t)
	k, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	noError(t, err, "client")
	defer k.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, k)
	noError(t, err, "list the topics")
	req := kmsg.NewPtrDeleteTopicsRequest()
	for _, topic := range all.Topics {
		if topic.Topic != nil && strings.HasPrefix(*topic.Topic, prefix) {
			rt := kmsg.NewDeleteTopicsRequestTopic()
			rt.Topic = topic.Topic
			req.Topics, req.TopicNames = append(req.Topics, rt), append(req.TopicNames, *topic.Topic)
		}
	}
	_, err = req.RequestWith(ctx, k)
	noError(t, err, "delete the topics")
}

// Without keys.
func TestRealSuite(t *testing.T) {
	suite(t, tests.Features{ConsumerGroups: true}, watermill.DefaultMarshaler{}, true)
}

// With keys, so that there is an order to keep.
func TestRealSuiteOrdered(t *testing.T) {
	suite(t, tests.Features{ConsumerGroups: true, GuaranteedOrder: true}, watermill.NewWithPartitioningMarshaler(byKey), true)
}

// Every subscription receives everything.
func TestRealSuiteWithoutGroup(t *testing.T) {
	suite(t, tests.Features{NewSubscriberReceivesOldMessages: true}, watermill.DefaultMarshaler{}, false)
}
