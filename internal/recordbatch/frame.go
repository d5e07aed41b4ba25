package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
)

// HeaderSize is the length of what stands before a batch's records.
const HeaderSize = 61

// Frame is what a batch's header says beside the records.
type Frame struct {
	Codec         Codec
	Transactional bool
	// ProducerID, ProducerEpoch and FirstSequence are -1 without idempotence.
	ProducerID    int64
	ProducerEpoch int16
	FirstSequence int32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const transactionalBit = 1 << 4

// AppendHeader appends the header of a batch: of the body, whose bytes go on the
// wire as they stand in records, compressed or not.
func AppendHeader(dst []byte, f Frame, b *Body, records []byte) []byte {
	start := len(dst)
	be := binary.BigEndian
	dst = be.AppendUint64(dst, 0) // base offset: the broker's business
	dst = be.AppendUint32(dst, uint32(HeaderSize-12+len(records)))
	dst = be.AppendUint32(dst, 1<<32-1) // partition leader epoch: the broker's, too
	dst = append(dst, 2)                // magic
	dst = be.AppendUint32(dst, 0)       // CRC, below
	attributes := uint16(f.Codec)
	if f.Transactional {
		attributes |= transactionalBit
	}
	dst = be.AppendUint16(dst, attributes)
	dst = be.AppendUint32(dst, uint32(b.count-1))
	dst = be.AppendUint64(dst, uint64(b.first))
	dst = be.AppendUint64(dst, uint64(b.max))
	dst = be.AppendUint64(dst, uint64(f.ProducerID))
	dst = be.AppendUint16(dst, uint16(f.ProducerEpoch))
	dst = be.AppendUint32(dst, uint32(f.FirstSequence))
	dst = be.AppendUint32(dst, uint32(b.count))

	const crcAt, covered = 17, 21 // the CRC covers all behind itself
	header := dst[start:]
	crc := crc32.Update(crc32.Checksum(header[covered:], castagnoli), castagnoli, records)
	be.PutUint32(header[crcAt:], crc)
	return dst
}
