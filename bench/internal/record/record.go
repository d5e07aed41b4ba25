// Package record makes and verifies the records of the benchmark. A record follows from its
// number alone, so that a reader can tell for every byte whether it is right.
package record

import (
	"bytes"
	"encoding/binary"
)

// Sizes in bytes. A value is the record's number, noise that does not compress, and text that
// repeats between records and does: a batch shrinks to about half, as real ones often do.
const (
	KeySize   = 16
	ValueSize = idSize + noiseSize + textSize

	idSize    = 8
	noiseSize = 96
	textSize  = 96
)

const text = `{"status":"ACTIVE","currency":"EUR","country":"DE","channel":"web","version":3,"tags":["a","b"]}`

// bodies are the values without their numbers. As many as these keep repeats further apart than
// one compressed batch reaches, and making a record costs a copy instead of its noise.
var bodies = func() (all [4096][ValueSize]byte) {
	state := uint64(0x9E3779B97F4A7C15)
	for i := range all {
		for at := idSize; at < idSize+noiseSize; at += 8 {
			// xorshift64: the same bytes on every machine, in every Go version.
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			binary.LittleEndian.PutUint64(all[i][at:], state)
		}
		copy(all[i][idSize+noiseSize:], text)
	}
	return all
}()

// Make returns key and value of record id: the number in 16 hexadecimal digits, and 200 bytes.
// Both are fresh and share one allocation.
func Make(id uint64) (key, value []byte) {
	const digits = "0123456789abcdef"
	both := make([]byte, KeySize+ValueSize)
	key, value = both[:KeySize:KeySize], both[KeySize:]
	for i := range key {
		key[i] = digits[id>>(60-4*i)&15]
	}
	copy(value, bodies[id%uint64(len(bodies))][:])
	binary.BigEndian.PutUint64(value, id)
	return key, value
}

// ID returns the number of a record that is exactly as Make made it, and false for any other.
func ID(key, value []byte) (id uint64, ok bool) {
	if len(key) != KeySize || len(value) != ValueSize {
		return 0, false
	}
	for _, c := range key {
		switch {
		case '0' <= c && c <= '9':
			id = id<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			id = id<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	if binary.BigEndian.Uint64(value) != id {
		return 0, false
	}
	return id, bytes.Equal(value[idSize:], bodies[id%uint64(len(bodies))][idSize:])
}
