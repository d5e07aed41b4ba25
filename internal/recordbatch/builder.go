// Package recordbatch writes record batches in Kafka's message format v2 (KIP-98),
// as they stand in a Produce request: records are encoded as they are appended,
// the body is compressed as a whole, and the header goes in front at the end.
package recordbatch

import (
	"encoding/binary"
	"errors"
	"iter"
	"math/bits"
)

// Header is one header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Body is the uncompressed records of a batch. The zero Body is empty. Timestamps
// are milliseconds since 1970.
type Body struct {
	raw        []byte
	count      int32
	first, max int64
}

// Reset empties the body, which then grows into buf.
func (b *Body) Reset(buf []byte) { *b = Body{raw: buf[:0]} }

// Bytes returns the encoded records, valid until the next change.
func (b *Body) Bytes() []byte { return b.raw }

// Count returns the number of records.
func (b *Body) Count() int32 { return b.count }

// First and Max return the first and the largest timestamp.
func (b *Body) First() int64 { return b.first }

// Max returns the largest timestamp.
func (b *Body) Max() int64 { return b.max }

func (b *Body) delta(timestamp int64) int64 {
	if b.count == 0 {
		return 0
	}
	return timestamp - b.first
}

func (b *Body) content(timestamp int64, key, value []byte, headers []Header) int {
	n := 1 + varintLen(b.delta(timestamp)) + varintLen(int64(b.count)) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	return n
}

// Append encodes a record, and reports false if the body has records already and
// would become larger than limit. A nil key or value is null.
func (b *Body) Append(limit int, timestamp int64, key, value []byte, headers []Header) bool {
	content := b.content(timestamp, key, value, headers)
	if b.count > 0 && len(b.raw)+varintLen(int64(content))+content > limit {
		return false
	}
	if b.count == 0 {
		b.first, b.max = timestamp, timestamp
	}
	b.max = max(b.max, timestamp)
	p := binary.AppendVarint(b.raw, int64(content))
	p = append(p, 0) // attributes: none are defined
	p = binary.AppendVarint(p, timestamp-b.first)
	p = binary.AppendVarint(p, int64(b.count))
	p = appendBytes(p, key)
	p = appendBytes(p, value)
	p = binary.AppendVarint(p, int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		p = binary.AppendVarint(p, int64(len(h.Key)))
		p = append(p, h.Key...)
		p = appendBytes(p, h.Value)
	}
	b.raw = p
	b.count++
	return true
}

// varintLen is the length of a zigzag varint.
func varintLen(v int64) int { return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7 }

func bytesLen(p []byte) int {
	if p == nil {
		return 1
	}
	return varintLen(int64(len(p))) + len(p)
}

func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1) // -1
	}
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

// Timestamps yields the records' timestamps, in order.
func (b *Body) Timestamps() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for rest := b.raw; len(rest) > 0; {
			length, n := binary.Varint(rest)
			delta, _ := binary.Varint(rest[n+1:]) // behind the attributes
			if !yield(b.first + delta) {
				return
			}
			rest = rest[n+int(length):]
		}
	}
}

var errCorrupt = errors.New("corrupt record")

// Split moves the records from number at on to the end of another body, which is
// empty and gets memory of its own.
func (b *Body) Split(at int32, tail *Body) error {
	end, limit := -1, b.max
	rest := b.raw
	*tail = Body{}
	b.max = b.first
	for i := range b.count {
		length, n := binary.Varint(rest)
		if n <= 0 || length < 3 || int64(len(rest)-n) < length {
			return errCorrupt
		}
		content := rest[n : n+int(length)]
		delta, dn := binary.Varint(content[1:])
		_, on := binary.Varint(content[1+max(0, dn):])
		if dn <= 0 || on <= 0 {
			return errCorrupt
		}
		timestamp := b.first + delta
		if i < at {
			b.max = max(b.max, timestamp)
		} else {
			if end < 0 {
				end = len(b.raw) - len(rest)
				*tail = Body{raw: make([]byte, 0, len(rest)+16), first: timestamp, max: timestamp}
			}
			tail.appendContent(timestamp, content[1+dn+on:])
		}
		rest = rest[n+int(length):]
	}
	if end < 0 {
		b.max = limit
		return nil
	}
	b.raw, b.count = b.raw[:end], at
	return nil
}

// appendContent encodes a record of which all behind the deltas is given.
func (b *Body) appendContent(timestamp int64, behind []byte) {
	b.max = max(b.max, timestamp)
	delta := timestamp - b.first
	p := binary.AppendVarint(b.raw, int64(1+varintLen(delta)+varintLen(int64(b.count))+len(behind)))
	p = append(p, 0)
	p = binary.AppendVarint(p, delta)
	p = binary.AppendVarint(p, int64(b.count))
	b.raw = append(p, behind...)
	b.count++
}
