package serde_test

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

// fuzzDecode checks what holds for any bytes: an error is a *DecodeError and the
// record's, and what was accepted can be written and read again.
func fuzzDecode[T any](t *testing.T, s serde.Serde[T], data []byte, equal func(a, b T) bool) {
	t.Helper()
	v, err := s.Decode(t.Context(), value("t"), data)
	if err != nil {
		var d *serde.DecodeError
		if !errors.As(err, &d) || pipeline.IsFatal(err) || pipeline.IsRetriable(err) {
			t.Fatalf("%x: %v", data, err)
		}
		return
	}
	out, err := s.Append(t.Context(), []byte{}, value("t"), v)
	if err != nil {
		var e *serde.EncodeError
		if !errors.As(err, &e) {
			t.Fatalf("%x: %v", data, err)
		}
		return
	}
	again, err := s.Decode(t.Context(), value("t"), out)
	if err != nil || !equal(v, again) {
		t.Fatalf("%x: read %v, written and read again %v, %v", data, v, again, err)
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
		if len(data) > 4 && data[0] == 0 {
			data[1], data[2], data[3], data[4] = 0, 0, 0, data[4]&1+1 // 1 exists, 2 does not
		}
		for _, s := range all {
			fuzzDecode(t, s, data, orderEqual)
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
		fuzzDecode(t, plain, data, equal)
		fuzzDecode(t, strict, data, equal)
	})
}

func FuzzString(f *testing.F) {
	f.Add([]byte("a\xffb"))
	s := serde.String()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzDecode(t, s, data, func(a, b string) bool { return a == b })
		if v, err := s.Decode(t.Context(), value("t"), data); err == nil && (v != string(data) || !utf8.Valid(data)) {
			t.Fatalf("%x read as %q", data, v)
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
