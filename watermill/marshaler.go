package watermill

import (
	"fmt"
	"maps"
	"slices"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/wmrecord"
)

// UUIDHeaderKey is the header that carries a message's UUID, as watermill-kafka names it.
const UUIDHeaderKey = wmrecord.UUIDHeader

// Marshaler makes a Kafka record of a message: the same interface as watermill-kafka's,
// so that one written for it fits. Of what it returns, topic, key, value, headers and
// timestamp are written. It is called from several goroutines at once.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error)
}

// Unmarshaler makes a message of a Kafka record, as watermill-kafka's does. It is called
// from several goroutines at once, and again for the same record when that is delivered
// again.
type Unmarshaler interface {
	Unmarshal(*sarama.ConsumerMessage) (*message.Message, error)
}

// MarshalerUnmarshaler does both.
type MarshalerUnmarshaler interface {
	Marshaler
	Unmarshaler
}

// DefaultMarshaler writes what watermill-kafka's writes: the payload as value, the UUID
// and the metadata as headers, no key. A nil payload is null. Metadata is a map: of
// headers with the same key it has the last.
type DefaultMarshaler struct{}

// Marshal makes a record. Metadata come in the order of their keys.
func (DefaultMarshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	if msg.Metadata.Get(UUIDHeaderKey) != "" {
		return nil, fmt.Errorf("metadata %s is reserved for the message's UUID; remove it, or set the UUID itself", UUIDHeaderKey)
	}
	headers := make([]sarama.RecordHeader, 1, 1+len(msg.Metadata))
	headers[0] = sarama.RecordHeader{Key: []byte(UUIDHeaderKey), Value: []byte(msg.UUID)}
	for _, k := range slices.Sorted(maps.Keys(msg.Metadata)) {
		headers = append(headers, sarama.RecordHeader{Key: []byte(k), Value: []byte(msg.Metadata[k])})
	}
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(msg.Payload), Headers: headers}, nil
}

// Unmarshal makes a message. Its payload is the record's value, not a copy.
func (DefaultMarshaler) Unmarshal(record *sarama.ConsumerMessage) (*message.Message, error) {
	msg := message.NewMessage("", record.Value)
	for _, h := range record.Headers {
		if string(h.Key) == UUIDHeaderKey {
			msg.UUID = string(h.Value)
		} else {
			msg.Metadata[string(h.Key)] = string(h.Value)
		}
	}
	return msg, nil
}

// GeneratePartitionKey returns the record's key for a message.
type GeneratePartitionKey func(topic string, msg *message.Message) (string, error)

// NewWithPartitioningMarshaler is DefaultMarshaler with a key, which chooses the
// partition: messages with the same key stay in order.
func NewWithPartitioningMarshaler(key GeneratePartitionKey) MarshalerUnmarshaler {
	return partitioningMarshaler{key: key}
}

type partitioningMarshaler struct {
	DefaultMarshaler
	key GeneratePartitionKey
}

func (m partitioningMarshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	record, err := m.DefaultMarshaler.Marshal(topic, msg)
	if err != nil {
		return nil, err
	}
	key, err := m.key(topic, msg)
	if err != nil {
		return nil, fmt.Errorf("partition key: %w", err)
	}
	record.Key = sarama.StringEncoder(key)
	return record, nil
}
