package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// broker writes by Leat's producer. It reads by another library, so that nothing but the
// serdes stands between what Python wrote and the documents.
type broker struct {
	addresses []string
	producer  *kafka.Producer
	other     *kgo.Client
}

func dial(ctx context.Context, addresses []string) (*broker, error) {
	other, err := kgo.NewClient(kgo.SeedBrokers(addresses...))
	if err != nil {
		return nil, err
	}
	producer, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: addresses})
	if err != nil {
		other.Close()
		return nil, err
	}
	return &broker{addresses, producer, other}, nil
}

func (b *broker) close() {
	_ = b.producer.Close(context.Background()) // every send was awaited
	b.other.Close()
}

// create makes topics of one partition.
func (b *broker) create(ctx context.Context, names ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, -1
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b.other)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

func (b *broker) send(ctx context.Context, topic string, key, value []byte) error {
	_, err := b.producer.SendSync(ctx, kafka.Record{Topic: topic, Key: key, Value: value})
	return err
}

// record is a record as it was read.
type record struct {
	key, value []byte
	headers    pipeline.Headers
}

// read returns all records of a topic's only partition, of which there is at least one.
func (b *broker) read(ctx context.Context, topic string) (records []record, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.addresses...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for end := int64(1); int64(len(records)) < end; {
		fetches := c.PollFetches(ctx)
		var errs []error
		fetches.EachError(func(_ string, _ int32, err error) { errs = append(errs, err) })
		if len(errs) > 0 {
			return nil, fmt.Errorf("read %s: %w", topic, errors.Join(errs...))
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			end = max(end, p.HighWatermark)
			for _, r := range p.Records {
				out := record{key: r.Key, value: r.Value}
				for _, h := range r.Headers {
					out.headers = out.headers.Add(h.Key, h.Value)
				}
				records = append(records, out)
			}
		})
	}
	return records, nil
}
