package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxBody bounds the requests whose body can be looked into.
	maxBody = 4 << 20
	// maxFrame bounds what is taken for a frame at all; Kafka's own limits are lower.
	maxFrame = 1 << 30
	// fixedHead is a frame's size, API key, version, correlation id and the length of its
	// client id.
	fixedHead = 4 + 2 + 2 + 4 + 2
	// prefix is how much of a body is read to know what a Produce request begins with.
	prefix = 1 << 10
)

// ErrBodyTooLarge is what Body returns for a request of more than 4 MiB.
var ErrBodyTooLarge = errors.New("proxy: the request is too large to look into")

// errNotKafka is for bytes that are no frame.
var errNotKafka = errors.New("proxy: not a Kafka frame")

// Request is a request as a rule sees it, valid only during the call.
type Request struct {
	// Broker is the node id of the broker that it is for.
	Broker int32
	// APIKey and Version say what it is.
	APIKey  kmsg.Key
	Version int16
	// CorrelationID tells it from the others of its connection.
	CorrelationID int32
	// ClientID is the client.id, "" for none.
	ClientID string
	// Size is that of the whole frame, in bytes.
	Size int

	head   []byte // the frame's beginning
	header int    // how much of it comes before the body
	from   *bufio.Reader
	frame  []byte // the whole frame, once it was read
	body   kmsg.Request
	err    error // of reading the frame, after which the connection is of no use
}

// readRequest reads what a frame begins with, and leaves it in the reader. named
// asks for the client's name, too, which costs an allocation.
func readRequest(from *bufio.Reader, broker int32, named bool) (*Request, error) {
	b, err := from.Peek(fixedHead)
	if err != nil {
		return nil, err
	}
	r := &Request{
		Broker: broker, from: from,
		Size:          4 + int(int32(binary.BigEndian.Uint32(b))),
		APIKey:        kmsg.Key(binary.BigEndian.Uint16(b[4:])),
		Version:       int16(binary.BigEndian.Uint16(b[6:])),
		CorrelationID: int32(binary.BigEndian.Uint32(b[8:])),
	}
	name := max(0, int(int16(binary.BigEndian.Uint16(b[12:])))) // -1: none
	r.header = fixedHead + name
	if r.Size < r.header || r.Size > maxFrame {
		return nil, errNotKafka
	}
	if r.head, err = from.Peek(min(r.Size, r.header+prefix)); err != nil {
		return nil, err
	}
	if named {
		r.ClientID = string(r.head[fixedHead:r.header])
	}
	return r, nil
}

// Body decodes the request. It costs as much as the request is large, and is kept.
// What it contains must not be used after the call that the request is for.
func (r *Request) Body() (kmsg.Request, error) {
	if r.body != nil {
		return r.body, nil
	}
	body := r.APIKey.Request()
	switch {
	case body == nil || r.Version < 0 || r.Version > body.MaxVersion():
		return nil, fmt.Errorf("proxy: API key %d in version %d is unknown", r.APIKey, r.Version)
	case r.Size > maxBody:
		return nil, ErrBodyTooLarge
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	body.SetVersion(r.Version)
	src := kbin.Reader{Src: r.frame[r.header:]}
	if body.IsFlexible() {
		kmsg.SkipTags(&src)
	}
	if err := body.ReadFrom(src.Src); err != nil {
		return nil, fmt.Errorf("proxy: decode %s: %w", r.APIKey.Name(), err)
	}
	r.body = body
	return body, nil
}

// read takes the whole frame out of the reader.
func (r *Request) read() error {
	if r.frame != nil {
		return nil
	}
	frame := make([]byte, r.Size)
	if _, r.err = io.ReadFull(r.from, frame); r.err != nil {
		return r.err
	}
	r.frame, r.head = frame, frame
	return nil
}

// TransactionalID is the request's transactional.id, "" if it has none. Of a Produce
// request only the beginning is looked at, whatever its size.
func (r *Request) TransactionalID() string {
	if r.APIKey == kmsg.Produce {
		id, _ := r.produce()
		return id
	}
	body, err := r.Body()
	if err != nil {
		return ""
	}
	var id *string
	switch b := body.(type) {
	case *kmsg.InitProducerIDRequest:
		id = b.TransactionalID
	case *kmsg.AddPartitionsToTxnRequest:
		return b.TransactionalID
	case *kmsg.AddOffsetsToTxnRequest:
		return b.TransactionalID
	case *kmsg.EndTxnRequest:
		return b.TransactionalID
	case *kmsg.TxnOffsetCommitRequest:
		return b.TransactionalID
	}
	if id == nil {
		return ""
	}
	return *id
}

// produce returns what a Produce request begins with. Acks are -1 if that cannot be
// said, so that an answer is expected.
func (r *Request) produce() (transactionalID string, acks int16) {
	src := kbin.Reader{Src: r.head[r.header:]}
	var id *string
	switch {
	case r.Version >= 9: // the flexible ones, by KIP-482
		kmsg.SkipTags(&src)
		id = src.CompactNullableString()
	case r.Version >= 3:
		id = src.NullableString()
	}
	acks = src.Int16()
	if !src.Ok() {
		return "", -1
	}
	if id != nil {
		transactionalID = *id
	}
	return transactionalID, acks
}

// answered tells whether the broker answers it.
func (r *Request) answered() bool {
	if r.APIKey != kmsg.Produce {
		return true
	}
	_, acks := r.produce()
	return acks != 0
}

// decodeResponse decodes the frame that answers a request.
func decodeResponse(key kmsg.Key, version int16, frame []byte) (kmsg.Response, error) {
	req := key.Request()
	if req == nil || version < 0 || version > req.MaxVersion() {
		return nil, fmt.Errorf("proxy: API key %d in version %d is unknown", key, version)
	}
	req.SetVersion(version)
	resp := req.ResponseKind()
	resp.SetVersion(version)
	src := kbin.Reader{Src: frame[8:]} // size and correlation id
	if resp.IsFlexible() && key != kmsg.ApiVersions {
		kmsg.SkipTags(&src)
	}
	if err := resp.ReadFrom(src.Src); err != nil {
		return nil, fmt.Errorf("proxy: decode the answer to %s: %w", key.Name(), err)
	}
	return resp, nil
}
