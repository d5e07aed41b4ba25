package watermill

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// subscription is one topic that is subscribed to: a pipeline whose only stage hands
// messages out and has done with a record when its message is acknowledged. The engine
// then commits it, and takes care of sessions and partitions.
type subscription struct {
	s     *Subscriber
	topic string
	group string
	log   watermill.LoggerAdapter
	out   chan *message.Message

	handing sync.WaitGroup // stages that may send to out
}

func newSubscription(s *Subscriber, topic string) *subscription {
	group := s.config.ConsumerGroup
	if group == "" {
		group = "watermill-" + rand.Text()
	}
	return &subscription{
		s: s, topic: topic, group: group, log: s.log.With(watermill.LogFields{"topic": topic, "consumer_group": group}),
		out: make(chan *message.Message),
	}
}

// run goes on until ctx ends. Then it closes out.
func (sub *subscription) run(ctx context.Context) {
	defer func() {
		sub.handing.Wait()
		close(sub.out)
	}()
	sub.log.Info("Subscribing to Kafka topic", nil)
	for {
		err := sub.once(ctx)
		if ctx.Err() != nil {
			if err != nil {
				sub.log.Info("The last acknowledged messages may come again", watermill.LogFields{"error": err})
			}
			return
		}
		sub.log.Error("The subscription has failed and is tried again", err, nil)
		select {
		case <-time.After(sub.s.config.ReconnectRetrySleep):
		case <-ctx.Done():
			return
		}
	}
}

// once runs the pipeline once.
func (sub *subscription) once(ctx context.Context) error {
	p := pipeline.New("watermill-" + sub.group)
	in := pipeline.From(p, sub.topic, serde.Bytes())
	// Nothing comes out of the stage. An output it must have; nothing is written to it.
	pipeline.To(pipeline.Apply(in, "subscriber", "subscriber", sub.handOut), sub.topic, serde.Bytes())
	config := &sub.s.config
	return pipeline.Run(ctx, p, kafkasource.New(config.source(sub.group, sub.log)), nowhere{},
		pipeline.Require(pipeline.AtLeastOnce), pipeline.CommitEvery(config.CommitInterval, 0, 0), pipeline.Logger(logging(sub.log)))
}

func (sub *subscription) handOut(sc *pipeline.StageContext, _ pipeline.Next[[]byte]) pipeline.Next[[]byte] {
	return func(ctx context.Context, r *pipeline.Raw) error {
		sc.Enter()
		sub.handing.Add(1)
		defer sub.handing.Done()
		for {
			acked, err := sub.offer(ctx, sc, r)
			if acked || err != nil {
				return err
			}
			if err := sc.Wait(ctx, sub.s.config.NackResendSleep); err != nil {
				return err
			}
		}
	}
}

// settleAfter is how long a message may take until what was acknowledged before it is
// committed without it.
const settleAfter = 100 * time.Millisecond

// offer hands a record's message out and waits until it is acknowledged or refused.
func (sub *subscription) offer(ctx context.Context, sc *pipeline.StageContext, r *pipeline.Raw) (acked bool, err error) {
	msg, err := sub.s.config.Unmarshaler.Unmarshal(consumerMessage(r))
	if err != nil {
		return false, sc.Fail(fmt.Errorf("unmarshal: %w", err))
	}
	msgCtx, cancel := context.WithCancel(withOrigin(ctx, r))
	defer cancel()
	msg.SetContext(msgCtx)
	late := time.NewTimer(settleAfter)
	defer late.Stop()
	for out := sub.out; ; {
		select {
		case out <- msg:
			out = nil
		case <-msg.Acked():
			return true, nil
		case <-msg.Nacked():
			return false, nil
		case <-late.C:
			if err := pipeline.Pause(ctx, 0); err != nil {
				return false, err
			}
		case <-sc.GivenUp():
			select {
			case <-msg.Acked():
				return true, nil
			default:
				return false, sc.Wait(ctx, time.Hour) // returns at once, and says why
			}
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

func consumerMessage(r *pipeline.Raw) *sarama.ConsumerMessage {
	headers := make([]sarama.RecordHeader, len(r.Headers))
	pointers := make([]*sarama.RecordHeader, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value}
		pointers[i] = &headers[i]
	}
	return &sarama.ConsumerMessage{
		Topic: r.Origin.Topic, Partition: r.Origin.Partition, Offset: r.Origin.Offset,
		Key: r.Key, Value: r.Value, Headers: pointers, Timestamp: r.Timestamp,
	}
}

// nowhere is the sink of pipelines that put nothing out.
type nowhere struct{}

func (nowhere) Open(context.Context, pipeline.Spec) (pipeline.Terms, error) {
	return pipeline.Terms{Guarantee: pipeline.AtLeastOnce}, nil
}
func (nowhere) Send(context.Context, []pipeline.Output) error { return nil }
func (nowhere) Flush(context.Context) error                   { return nil }
func (nowhere) Close() error                                  { return nil }
