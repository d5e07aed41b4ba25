package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	wm "github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// runBefore runs the application in a Router between watermill-kafka's subscriber and
// publisher, over the first n messages: at least once.
func runBefore(ctx context.Context, brokers []string, in, out string, n int64) (took time.Duration, err error) {
	marshaler := wmkafka.NewWithPartitioningMarshaler(customer)
	publisher, err := wmkafka.NewPublisher(wmkafka.PublisherConfig{Brokers: brokers, Marshaler: marshaler}, wm.NopLogger{})
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	config := wmkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: brokers, Unmarshaler: marshaler, ConsumerGroup: out, OverwriteSaramaConfig: config,
	}, wm.NopLogger{})
	if err != nil {
		return 0, err
	}
	defer subscriber.Close()
	router, err := message.NewRouter(message.RouterConfig{}, wm.NopLogger{})
	if err != nil {
		return 0, err
	}
	router.AddMiddleware(around...)
	watch := &stopwatch{publisher: publisher, until: n, done: router.Close}
	router.AddHandler("settle", in, subscriber, out, watch, watch.started(settle))
	err = router.Run(ctx)
	return watch.took(), err
}

// stopwatch takes the time from the first message that is handled to the n-th that is
// published, and then closes the router.
type stopwatch struct {
	publisher message.Publisher
	until     int64
	done      func() error

	begin, end, count atomic.Int64
}

func (s *stopwatch) started(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		s.begin.CompareAndSwap(0, time.Now().UnixNano())
		return h(msg)
	}
}

func (s *stopwatch) Publish(topic string, messages ...*message.Message) error {
	err := s.publisher.Publish(topic, messages...)
	if err == nil && s.count.Add(int64(len(messages))) == s.until {
		s.end.Store(time.Now().UnixNano())
		go s.done() // it waits for this handler; Run returns when it is done
	}
	return err
}

func (s *stopwatch) Close() error { return nil }

func (s *stopwatch) took() time.Duration { return time.Duration(s.end.Load() - s.begin.Load()) }
