package watermill

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/wmrecord"
	"github.com/leat-stream/leat/pipeline"
)

// Messages is the serde of Watermill messages in a pipeline, as [DefaultMarshaler] and
// watermill-kafka write them: the payload is the record's value, a nil one null; UUID and
// metadata are headers.
//
// A message that was read must not be changed: branches share it. [Handler] gives its
// function a copy. Writing, headers that the record has and the message does not know of
// stay, and of those with the same key all, if the message has the last one's value: so
// duplicates survive. The others are replaced.
//
// Reading costs 3 allocations if there are metadata, else 1; writing 3.
func Messages() pipeline.Serde[*message.Message] { return messages{} }

type messages struct{}

var _ pipeline.Nullable = messages{}

func (messages) DecodesNull() {}

func (messages) Decode(_ context.Context, at pipeline.Slot, data []byte) (*message.Message, error) {
	msg := &message.Message{Payload: data}
	if at.Headers == nil {
		return msg, nil
	}
	for i := range *at.Headers {
		h := &(*at.Headers)[i]
		if h.Key == UUIDHeaderKey {
			msg.UUID = wmrecord.Text(h.Value)
			continue
		}
		if msg.Metadata == nil {
			msg.Metadata = make(message.Metadata, len(*at.Headers)-i)
		}
		msg.Metadata[h.Key] = wmrecord.Text(h.Value)
	}
	return msg, nil
}

func (messages) Append(_ context.Context, dst []byte, at pipeline.Slot, msg *message.Message) ([]byte, error) {
	if msg == nil {
		return nil, errNilMessage
	}
	if at.Headers != nil && !at.Key {
		if msg.Metadata.Get(UUIDHeaderKey) != "" {
			return nil, errReserved
		}
		*at.Headers = written(*at.Headers, msg)
	}
	if msg.Payload == nil {
		return nil, nil
	}
	return append(dst, msg.Payload...), nil
}

var (
	errNilMessage = errors.New("the message is nil")
	errReserved   = fmt.Errorf("metadata %s is reserved for the message's UUID; remove it, or set the UUID itself", UUIDHeaderKey)
)

// written are the headers of a message whose record has some already.
func written(have pipeline.Headers, msg *message.Message) pipeline.Headers {
	var changed []string
	for k := range msg.Metadata {
		if !unchanged(have, k, msg) {
			changed = append(changed, k)
		}
	}
	first := len(have) > 0 && have[0].Key == UUIDHeaderKey && unchanged(have, UUIDHeaderKey, msg)
	if first && len(changed) == 0 {
		return have
	}
	slices.Sort(changed)
	size := len(msg.UUID)
	for _, k := range changed {
		size += len(msg.Metadata[k])
	}
	space := make([]byte, 0, size) // for all values
	value := func(s string) []byte {
		space = append(space, s...)
		return space[len(space)-len(s) : len(space) : len(space)]
	}
	out := make(pipeline.Headers, 1, 1+len(have)+len(changed))
	out[0] = pipeline.Header{Key: UUIDHeaderKey, Value: value(msg.UUID)}
	for i := range have {
		if k := have[i].Key; k != UUIDHeaderKey && !slices.Contains(changed, k) {
			out = append(out, have[i])
		}
	}
	for _, k := range changed {
		out = append(out, pipeline.Header{Key: k, Value: value(msg.Metadata[k])})
	}
	return out
}

// unchanged reports whether a message has the value of the last header with a key.
func unchanged(headers pipeline.Headers, key string, msg *message.Message) bool {
	last, ok := headers.Get(key)
	if key == UUIDHeaderKey {
		return ok && string(last) == msg.UUID
	}
	v, known := msg.Metadata[key]
	return ok && known && string(last) == v
}

// inherited are the headers of a record that a message made of it still has.
func inherited(headers pipeline.Headers, msg *message.Message) pipeline.Headers {
	for i := range headers {
		if !unchanged(headers, headers[i].Key, msg) {
			return slices.DeleteFunc(slices.Clone(headers), func(h pipeline.Header) bool { return !unchanged(headers, h.Key, msg) })
		}
	}
	return headers
}
