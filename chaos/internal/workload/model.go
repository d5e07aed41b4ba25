package workload

import "encoding/binary"

// Expected is an output that must be there, once.
type Expected struct {
	// Topic is the topic's number.
	Topic int
	// Index is the output's among those of its input, 0 for a dead letter.
	Index int
	// Value is nil for null.
	Value []byte
}

// Counts are the numbers of the inputs of each key of one partition.
type Counts map[string]uint64

// Next counts an input, and returns the number of it; 0 for one that is not counted.
func (c Counts) Next(key, value []byte) uint64 {
	if k := KindOf(value); k != Regular && k != Null {
		return 0
	}
	c[string(key)]++
	return c[string(key)]
}

// Model calls f for each output of an input, in order. count is its number among those of its
// key, 0 without counts. The value that f is given is valid until it returns.
func Model(value []byte, count uint64, f func(Expected)) {
	switch KindOf(value) {
	case Null:
		f(Expected{Topic: Left})
	case Dropped:
	case Regular:
		number := binary.BigEndian.Uint64(value[1:])
		made := make([]byte, len(value), len(value)+8)
		if count > 0 {
			made = binary.BigEndian.AppendUint64(made, count)
		}
		for i := range 1 + int(number%3) {
			made[0] = byte(i)
			copy(made[1:Head], value[1:Head])
			mask := byte(37 * (i + 1))
			for j := Head; j < len(value); j++ {
				made[j] = value[j] ^ mask
			}
			f(Expected{Topic: int((number/3 + uint64(i)) % 2), Index: i, Value: made})
		}
	default:
		f(Expected{Topic: DeadLetters, Value: value})
	}
}

// KindOf returns the kind of an input by its value.
func KindOf(value []byte) Kind {
	switch {
	case value == nil:
		return Null
	case len(value) < Head:
		return Poison
	}
	switch k := Kind(value[0]); k {
	case Regular, Dropped, Swells, Bursts:
		return k
	}
	return Poison
}
