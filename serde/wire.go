package serde

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/leat-stream/leat/pipeline"
)

// Confluent's two wire formats. In the prefix form the bytes begin with a zero byte and
// the schema's id in 4 bytes, big-endian. In the header form a header holds the byte 1
// and the schema's GUID in 16 bytes, and the bytes are the body alone. What Protobuf
// says besides, which message it is, follows the id or the GUID.
const (
	prefixSize = 5
	headerSize = 17

	magicID   = 0
	magicGUID = 1
)

// The headers of the header form.
const (
	HeaderValueSchemaID = "__value_schema_id"
	HeaderKeySchemaID   = "__key_schema_id"
)

func schemaHeader(at pipeline.Slot) string {
	if at.Key {
		return HeaderKeySchemaID
	}
	return HeaderValueSchemaID
}

// guid is a schema's globally unique id.
type guid [16]byte

func (g guid) String() string {
	s := hex.EncodeToString(g[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func parseGUID(s string) (g guid, ok bool) {
	var digits []byte
	for i := range len(s) {
		if s[i] != '-' {
			digits = append(digits, s[i])
		}
	}
	n, err := hex.Decode(g[:min(16, len(digits)/2)], digits[:min(32, len(digits))])
	return g, err == nil && n == 16 && len(digits) == 32
}

// writer names a writer's schema: by id, or by GUID if the id is 0.
type writer struct {
	id   uint32
	guid guid
}

// WriterSchema names the schema that a key or value was written with: by the registry's
// id in the prefix form, or by GUID in the header form.
type WriterSchema struct {
	ID   int
	GUID string
}

// WriterOf returns which schema a key or value says that it was written with. It asks
// nobody, so that the registry may not know it. The error is one of [ErrNotFramed],
// [ErrEmpty] and [ErrUnknownSchema], for an id that no registry gives.
func WriterOf(at pipeline.Slot, data []byte) (WriterSchema, error) {
	m, kind := unframe(at, data)
	switch {
	case kind != nil:
		return WriterSchema{}, kind
	case m.writer.id != 0:
		return WriterSchema{ID: int(m.writer.id)}, nil
	}
	return WriterSchema{GUID: m.writer.guid.String()}, nil
}

// message is a key or value taken apart.
type message struct {
	writer writer
	// head is what follows the id or GUID in a header.
	head     []byte
	inHeader bool
	body     []byte
}

// unframe takes data apart. The sentinel says why it could not; an id that no registry
// gives is unknown without asking, since what a registry answers to one differs. The
// header comes first: with it, the bytes have no prefix.
func unframe(at pipeline.Slot, data []byte) (m message, kind error) {
	if at.Headers != nil {
		name := schemaHeader(at)
		for i := len(*at.Headers) - 1; i >= 0; i-- { // the last one counts
			if h := &(*at.Headers)[i]; h.Key == name {
				m, kind = identify(h.Value)
				m.head, m.body, m.inHeader = m.body, data, true
				return m, kind
			}
		}
	}
	if len(data) > 0 && data[0] != magicID {
		return m, ErrNotFramed // in a prefix, a GUID has no place
	}
	return identify(data)
}

func identify(data []byte) (m message, kind error) {
	switch {
	case len(data) == 0:
		return m, ErrEmpty
	case data[0] == magicID && len(data) >= prefixSize:
		m.writer.id, m.body = binary.BigEndian.Uint32(data[1:prefixSize]), data[prefixSize:]
		if m.writer.id > math.MaxInt32 || m.writer.id == 0 {
			return m, ErrUnknownSchema
		}
		return m, nil
	case data[0] == magicGUID && len(data) >= headerSize:
		copy(m.writer.guid[:], data[1:headerSize])
		m.body = data[headerSize:]
		return m, nil
	}
	return m, ErrNotFramed
}

func prefix(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{magicID}, id) }

func header(g guid) []byte { return append([]byte{magicGUID}, g[:]...) }
