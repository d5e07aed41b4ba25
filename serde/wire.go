package serde

import (
	"encoding/binary"
	"math"
)

// Confluent's wire format: a zero byte, the schema's id in 4 bytes, big-endian,
// and the body.
const frameSize = 5

func appendFrame(dst []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), id)
}

// unframe splits data into the id and the body. The sentinel says why it could
// not; an id that no registry gives is unknown without asking, since what a
// registry answers to one differs.
func unframe(data []byte) (id uint32, body []byte, kind error) {
	switch {
	case len(data) == 0:
		return 0, nil, ErrEmpty
	case len(data) < frameSize, data[0] != 0:
		return 0, nil, ErrNotFramed
	}
	id = binary.BigEndian.Uint32(data[1:frameSize])
	if id > math.MaxInt32 {
		return id, nil, ErrUnknownSchema
	}
	return id, data[frameSize:], nil
}
