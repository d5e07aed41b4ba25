package serde_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/testpb"
)

// What a decode may allocate: times the bytes of the record, and a constant. It is what the
// most wasteful record needs, with room: in Avro without a type a record of one byte is a map,
// as deep as the codec goes; in JSON each byte may violate the schema.
type limit struct{ times, plus uint64 }

var (
	avroLimit     = limit{200, 64 << 10}
	anyLimit      = limit{200, 4 << 20}
	jsonLimit     = limit{1000, 256 << 10}
	protobufLimit = limit{200, 64 << 10}
)

// allocated returns the bytes that f allocates, and those of whatever runs beside it.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// fuzzDecode checks what holds for any bytes: an error is a *DecodeError and the
// record's, what was accepted can be written and read again, and the memory is bounded.
func fuzzDecode[T any](t *testing.T, s serde.Serde[T], data []byte, limit limit, equal func(a, b T) bool) {
	t.Helper()
	var v T
	var err error
	decode := func() { v, err = s.Decode(t.Context(), value("t"), data) }
	most := limit.times*uint64(len(data)) + limit.plus
	if n := allocated(decode); n > most {
		// Once more: the fuzzer itself allocates beside it.
		if n = min(n, allocated(decode)); n > most {
			t.Fatalf("%d bytes take %d bytes of memory: %.200x", len(data), n, data)
		}
	}
	if err != nil {
		var d *serde.DecodeError
		if !errors.As(err, &d) || pipeline.IsFatal(err) || pipeline.IsRetriable(err) {
			t.Fatalf("%.200x: %v", data, err)
		}
		if len(err.Error()) > 1000 {
			t.Fatalf("%.200x: an error of %d bytes", data, len(err.Error()))
		}
		return
	}
	out, err := s.Append(t.Context(), []byte{}, value("t"), v)
	if err != nil {
		var e *serde.EncodeError
		if !errors.As(err, &e) {
			t.Fatalf("%.200x: %v", data, err)
		}
		return
	}
	again, err := s.Decode(t.Context(), value("t"), out)
	if err != nil || !equal(v, again) {
		t.Fatalf("%.200x: read %v, written and read again %v, %v", data, v, again, err)
	}
}

// known makes most data begin as the wire format does: with the id 1, which is known, or 2,
// which is not.
func known(data []byte) {
	if len(data) > 4 && data[0] == 0 {
		data[1], data[2], data[3], data[4] = 0, 0, 0, 2-data[4]&1
	}
}

func FuzzAvro(f *testing.F) {
	_, reg := newFake(f)
	all := map[string]serde.Serde[Order]{}
	for name, codec := range codecs() {
		all[name] = serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(codec))
		for _, o := range orders() {
			f.Add(encode(f, all[name], "t", o))
		}
	}
	for _, b := range append(badFrames(), badData(1)...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		known(data)
		for _, s := range all {
			fuzzDecode(t, s, data, avroLimit, orderEqual)
		}
	})
}

func FuzzJSON(f *testing.F) {
	plain, strict := serde.JSON[Order](), serde.JSON[Order](serde.DisallowUnknownFields())
	for _, s := range []string{`{}`, `null`, `{"order_id":"a","tags":["x"],"note":"\ud800"} x`, `{"created_at":"2020-01-01T00:00:00Z"}`, "[[[["} {
		f.Add([]byte(s))
	}
	equal := func(a, b Order) bool {
		a.Tags, b.Tags = append([]string{}, a.Tags...), append([]string{}, b.Tags...)
		return orderEqual(a, b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode(t, plain, data, jsonLimit, equal)
		fuzzDecode(t, strict, data, jsonLimit, equal)
	})
}

// everyAvsc has what Avro has, recursion and trees among it, but no arrays of items without
// bytes, see [TestAvroItemsWithoutBytes].
const everyAvsc = `{"type":"record","name":"R","fields":[
	{"name":"next","type":["null","R"]},{"name":"list","type":{"type":"array","items":["null","string","double"]}},
	{"name":"map","type":{"type":"map","values":{"type":"array","items":"boolean"}}},{"name":"kids","type":{"type":"map","values":"R"}},{"name":"more","type":{"type":"array","items":"R"}},
	{"name":"fix","type":{"type":"fixed","name":"F","size":3}},{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
	{"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"day","type":{"type":"int","logicalType":"date"}},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"id","type":{"type":"string","logicalType":"uuid"}},
	{"name":"time","type":{"type":"int","logicalType":"time-millis"}}]}`

// sameJSON compares as JSON, in which maps have an order; what JSON does not have is alike.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX != nil || errY != nil || string(x) == string(y)
}

func FuzzAvroAny(f *testing.F) {
	_, reg := newFake(f)
	s := serde.AvroAny(reg, serde.Schema(everyAvsc))
	leaf := func() map[string]any {
		return map[string]any{
			"next": nil, "list": []any{}, "map": map[string]any{}, "kids": map[string]any{}, "more": []any{}, "fix": []byte("abc"), "e": "B", "dec": big.NewRat(-5, 4),
			"day": time.Unix(0, 0), "at": time.Unix(1, 0), "id": "123e4567-e89b-12d3-a456-426614174000", "time": time.Second,
		}
	}
	whole := leaf()
	whole["next"], whole["kids"], whole["list"] = leaf(), map[string]any{"k": leaf()}, []any{nil, "x", 1.5}
	whole["more"] = []any{leaf(), leaf()}
	whole["map"] = map[string]any{"k": []any{true, false}}
	for _, v := range []map[string]any{leaf(), whole} {
		f.Add(encode(f, s, "t", any(v)))
	}
	deep := append([]byte{0, 0, 0, 0, 1}, bytes.Repeat([]byte{2}, 20_000)...)
	f.Add(deep)
	for _, b := range append(badFrames(), badData(1)...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		known(data)
		fuzzDecode(t, s, data, anyLimit, sameJSON)
	})
}

func FuzzJSONSchema(f *testing.F) {
	_, reg := newFake(f)
	s := serde.JSONSchema[any](reg, serde.Schema(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["a"],
		"properties":{"a":{"type":"integer","multipleOf":3},"b":{"type":"array","items":{"$ref":"#"},"uniqueItems":true},"c":{"enum":[1,"x",null]},
		"d":{"type":"string","pattern":"^a+b*$","maxLength":9},"e":{"type":"number","exclusiveMaximum":5}},"additionalProperties":{"type":"number"}}`))
	f.Add(encode(f, s, "t", any(map[string]any{"a": 3, "b": []any{map[string]any{"a": 6}}, "c": "x", "d": "aab", "e": 1.5, "z": 1})))
	for _, text := range []string{`{"a":1e999999999}`, `{"a":1e999999}`, `{"a":-0.0,"d":"\ud800"}`, `{"b":[1,1,1,1,1,1]}`, `{"a":3}x`, `[`, `{"a":3,"a":"x"}`} {
		f.Add(framedText(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		known(data)
		fuzzDecode(t, s, data, jsonLimit, sameJSON)
	})
}

func FuzzProtobuf(f *testing.F) {
	_, reg := newFake(f)
	typed := serde.Protobuf[*testpb.Order](reg)
	for _, o := range protoOrders() {
		f.Add(encode(f, typed, "t", o)) // the id is 2, after that of the import
	}
	any := serde.ProtobufAny(reg, serde.UseLatest())
	_ = encode(f, any, "t", proto.Message(&testpb.Header{}))
	for _, text := range []string{"\x02\x02", "\x00\x0a\x01s", "\x04\x02\x02\x0a\x01s", "\x02\x02\x7a\x80\x80\x80\x80\x08", "\xff\xff\xff\xff\x0f", "\x06\x02\x02\x00\x09\x00\x00\x00\x00\x00\x00\xe0\x3f"} {
		f.Add(append([]byte{0, 0, 0, 0, 2}, text...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 && data[0] == 0 {
			data[1], data[2], data[3], data[4] = 0, 0, 0, data[4]&1+2 // 2 is known, 3 is not
		}
		// As text: a NaN is not equal to itself.
		fuzzDecode(t, typed, data, protobufLimit, func(a, b *testpb.Order) bool { return prototext.Format(a) == prototext.Format(b) })
		fuzzDecode(t, any, data, protobufLimit, func(a, b proto.Message) bool {
			return proto.Equal(a, b) || strings.Contains(prototext.Format(a), "nan")
		})
	})
}

func FuzzString(f *testing.F) {
	f.Add([]byte("a\xffb"))
	s := serde.String()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode(t, s, data, jsonLimit, func(a, b string) bool { return a == b })
		if v, err := s.Decode(t.Context(), value("t"), data); err == nil && (v != string(data) || !utf8.Valid(data)) {
			t.Fatalf("%.200x read as %q", data, v)
		}
	})
}

// FuzzSchema feeds schemas, as a registry may hold anything.
func FuzzSchema(f *testing.F) {
	for _, s := range []string{orderAvsc, `"int"`, `["null","null"]`, `{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`, `{"type":"fixed","name":"F","size":-1}`} {
		f.Add(s)
	}
	_, reg := newFake(f)
	f.Fuzz(func(t *testing.T, avsc string) {
		for _, codec := range codecs() {
			s := serde.Avro[any](reg, serde.Schema(avsc), serde.Codec(codec))
			if err := s.(serde.Validator).Validate(); err != nil && !errors.Is(err, serde.ErrInvalid) {
				t.Fatal(err)
			}
		}
	})
}
