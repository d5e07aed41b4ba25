package pipeline

import "time"

// Record is one record on its way down a chain.
//
// A stage owns the record it receives only until it returns: the same memory is
// used for the next record. It must not change the record, since other branches
// receive the same one; it passes on a record of its own. What Key, Headers and
// Value refer to is never modified or reused by Leat and may be kept.
type Record[T any] struct {
	// Key is the record's key as bytes; nil means that it has none. KeyBy sets
	// it through a serde.
	Key []byte
	// Value is the decoded value.
	Value T
	// Headers are the record's headers in order, duplicates included.
	Headers Headers
	// Timestamp is the record's time, in Kafka's millisecond precision. It
	// passes through to the outputs.
	Timestamp time.Time
	// Origin says which input record this one comes from.
	Origin Origin
}

// Raw is a record as it stands in the log: its value is bytes. A nil value is a
// tombstone, which is not the same as an empty value.
type Raw = Record[[]byte]

// With returns a record with r's key, headers, timestamp and origin and another
// value. It copies the record's head, about 100 bytes, and allocates nothing.
func With[In, Out any](r *Record[In], value Out) Record[Out] {
	return Record[Out]{Key: r.Key, Value: value, Headers: r.Headers, Timestamp: r.Timestamp, Origin: r.Origin}
}
