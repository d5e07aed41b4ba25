package watermill

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
)

// Outbox is a Watermill publisher for handlers in a pipeline: what they publish becomes
// an output of the record that they handle, in its transaction, with its position. It is
// for applications that publish by themselves, rather than returning messages: event
// buses, or the poison queue. Give it to them, and to [Handler] with [Publishing].
//
// A message belongs to the record whose context it has: that of the handler's message, or
// one made from it. Publish fails, with a [*PublishError], if it has none, or if the
// handler has returned. It may be called from several goroutines.
type Outbox struct {
	// Topics are those that may be published to. They must exist.
	Topics []string
	// PartitionKey returns the records' key. Default: the key of the record that is
	// handled.
	PartitionKey GeneratePartitionKey
}

// Why a message cannot be published through an [Outbox].
var (
	// ErrNoTransaction says that the message's context is not that of a record.
	ErrNoTransaction = errors.New("the message's context is not that of a record in a pipeline; give it the context of the message that is handled")
	// ErrTransactionEnded says that the handler of that record has returned, and its
	// outputs may be committed.
	ErrTransactionEnded = errors.New("the handler of the record has returned; publish before it does")
	// ErrNotPublishing says that the record's handler was not given this Outbox.
	ErrNotPublishing = errors.New("the handler was given no such Outbox; add watermill.Publishing(outbox) to Handler")
)

// PublishError tells of messages that were not published, none of the call's.
type PublishError struct {
	Topic    string
	Messages int
	// Err is ErrNoTransaction, ErrTransactionEnded, ErrNotPublishing,
	// pipeline.ErrUnknownTopic or an error of PartitionKey.
	Err error
}

// Error says why.
func (e *PublishError) Error() string {
	return fmt.Sprintf("publish %d messages to topic %q: %v", e.Messages, e.Topic, e.Err)
}

// Unwrap returns the reason.
func (e *PublishError) Unwrap() error { return e.Err }

// published is a message on its way to a topic.
type published struct {
	topic  string
	msg    *message.Message
	key    []byte
	hasKey bool // else it is the record's
}

// Publish adds copies of messages to the outputs of the record whose context they have.
// They are written after the handler has returned without an error; if it has failed,
// and a middleware runs it again, what it published before is forgotten.
func (o *Outbox) Publish(topic string, messages ...*message.Message) error {
	if err := o.publish(topic, messages); err != nil {
		return &PublishError{topic, len(messages), err}
	}
	return nil
}

func (o *Outbox) publish(topic string, messages []*message.Message) error {
	if !slices.Contains(o.Topics, topic) {
		return fmt.Errorf("%w of the Outbox", pipeline.ErrUnknownTopic)
	}
	var record *recordContext
	all := make([]published, len(messages))
	for i, msg := range messages {
		c := recordOf(msg.Context())
		switch {
		case c == nil:
			return ErrNoTransaction
		case c.outbox != o:
			return ErrNotPublishing
		case record != nil && record != c:
			return errSeveralRecords
		}
		record, all[i] = c, published{topic: topic, msg: msg.Copy()}
		if o.PartitionKey != nil {
			key, err := o.PartitionKey(topic, msg)
			if err != nil {
				return fmt.Errorf("partition key: %w", err)
			}
			all[i].key, all[i].hasKey = []byte(key), true
		}
	}
	if record == nil {
		return nil
	}
	return record.publish(all)
}

var errSeveralRecords = errors.New("messages with the contexts of different records; publish them apart")

// Close does nothing.
func (o *Outbox) Close() error { return nil }

// Publishing gives a [Handler] an outbox.
func Publishing(o *Outbox) pipeline.StageOption {
	return handlerOption{onlyHandler("Publishing"), func(c *handlerConfig) {
		if o == nil || len(o.Topics) == 0 {
			c.mistake("watermill.Publishing: an Outbox without Topics can publish nothing")
			return
		}
		c.outbox = o
	}}
}

// outputs ends a stream of published messages in their topics.
func (o *Outbox) outputs(s pipeline.Stream[published], name string) {
	pipeline.ToEach(s, name+" outbox", func(r *pipeline.Record[published]) string { return r.Value.topic }, o.Topics, publishedSerde{})
}

// publishedSerde writes messages as [Messages] does.
type publishedSerde struct{ messages }

func (s publishedSerde) Append(ctx context.Context, dst []byte, at pipeline.Slot, p published) ([]byte, error) {
	return s.messages.Append(ctx, dst, at, p.msg)
}

func (publishedSerde) Decode(context.Context, pipeline.Slot, []byte) (published, error) {
	return published{}, errors.ErrUnsupported
}
