// Package murmur2 is the hash of Kafka's Java client, with which every part of
// Leat that chooses partitions by key stays co-partitioned with Java producers.
package murmur2

import "encoding/binary"

// Partition is BuiltInPartitioner.partitionForKey of Kafka's Java client: the
// partition of a key in a topic of so many partitions, which must be positive. It
// allocates nothing and may be called from any goroutine.
func Partition(key []byte, partitions int32) int32 {
	return int32(Sum(key)&0x7fffffff) % partitions
}

// Sum is Utils.murmur2 of Kafka's Java client (org.apache.kafka.common.utils),
// with its seed.
func Sum(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data)
		data = data[4:]
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
