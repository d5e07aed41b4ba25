// Package wmrecord says how a Watermill message stands in a record, as watermill-kafka
// writes it: the payload is the value, the UUID and the metadata are headers.
package wmrecord

import (
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
)

// UUIDHeader is the header that carries a message's UUID.
const UUIDHeader = "_watermill_message_uuid"

// Message makes a message of a record's value and headers. Of headers with the same key
// it has the last. The payload is the value, not a copy.
func Message(value []byte, headers pipeline.Headers) *message.Message {
	msg := message.NewMessage("", value)
	for i := range headers {
		if h := &headers[i]; h.Key == UUIDHeader {
			msg.UUID = string(h.Value)
		} else {
			msg.Metadata[h.Key] = string(h.Value)
		}
	}
	return msg
}

// Headers are those of a message: first the UUID, then the metadata by key.
func Headers(msg *message.Message) pipeline.Headers {
	headers := make(pipeline.Headers, 1, 1+len(msg.Metadata))
	headers[0] = pipeline.Header{Key: UUIDHeader, Value: []byte(msg.UUID)}
	for _, k := range slices.Sorted(maps.Keys(msg.Metadata)) {
		if k != UUIDHeader {
			headers = append(headers, pipeline.Header{Key: k, Value: []byte(msg.Metadata[k])})
		}
	}
	return headers
}
