package serde

import (
	"context"
	"unicode/utf8"

	"github.com/leat-stream/leat/pipeline"
)

// String is the serde of UTF-8 text, as Kafka's StringSerializer writes it. Text
// that is not valid UTF-8 is the record's error [ErrNotUTF8] in both directions:
// Java's StringDeserializer would replace the bytes in question, and a key
// changed on the way is another key. Use [Bytes] for other encodings. The empty
// text and null are different: String does not decode null, see [Nullable].
//
// Decode costs one allocation, Append none.
func String() Serde[string] { return stringSerde{} }

type stringSerde struct{}

func (stringSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, v string) ([]byte, error) {
	if !utf8.ValidString(v) {
		return nil, &EncodeError{Format: "text", Detail: ErrNotUTF8.Error(), Cause: ErrNotUTF8}
	}
	return append(dst, v...), nil
}

func (stringSerde) Decode(_ context.Context, _ pipeline.Slot, data []byte) (string, error) {
	if data == nil {
		return "", &DecodeError{Format: "text", Kind: pipeline.ErrTombstone}
	}
	if !utf8.Valid(data) {
		return "", &DecodeError{Format: "text", Kind: ErrNotUTF8}
	}
	return string(data), nil
}
