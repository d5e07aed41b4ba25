// Package serde turns values into the bytes of a record's key or value and back.
//
// [Bytes], [String] and [JSON] need nothing else. [Avro] writes and reads
// Confluent's wire format with a schema registry, see package serde/registry. A
// serde is chosen where a stream begins and where it ends, and its type is the
// stream's:
//
//	orders := pipeline.From(p, "orders", serde.Avro[Order](reg, serde.Schema(orderAvsc)))
//	pipeline.To(orders, "orders.copy", serde.JSON[Order]())
//
// A serde is safe for concurrent use, and one value may stand in many places. A
// mistake in its options is reported by its Validate method, which a pipeline's
// Validate calls, and by every other method as an error marked with
// pipeline.Fatal.
//
// Bytes that cannot be decoded are the record's error: a [*DecodeError] that
// wraps one of the Err… values. Its text never quotes the record.
package serde

import "github.com/leat-stream/leat/pipeline"

// Serde is [pipeline.Serde], so that serdes and their users need one import.
type Serde[T any] = pipeline.Serde[T]

// Validator is a [Serde] that can say, before anything is read or written, that
// it was built wrongly. Validate returns every mistake, joined, or nil.
type Validator interface {
	Validate() error
}
