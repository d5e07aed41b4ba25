// Package wmrecord says how a Watermill message stands in a record, as watermill-kafka
// writes it: the payload is the value, the UUID and the metadata are headers.
package wmrecord

import (
	"maps"
	"slices"
	"unsafe"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
)

// UUIDHeader is the header that carries a message's UUID.
const UUIDHeader = "_watermill_message_uuid"

// Message makes a message of a record's value and headers. Of headers with the same key
// it has the last. Payload, UUID and metadata are the record's own bytes, not copies.
func Message(value []byte, headers pipeline.Headers) *message.Message {
	msg := message.NewMessage("", value)
	for i := range headers {
		if h := &headers[i]; h.Key == UUIDHeader {
			msg.UUID = Text(h.Value)
		} else {
			msg.Metadata[h.Key] = Text(h.Value)
		}
	}
	return msg
}

// Text is a header's value as a string, without a copy: what a record refers to is never
// changed nor used again (see pipeline.Record).
func Text(value []byte) string { return unsafe.String(unsafe.SliceData(value), len(value)) }

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
