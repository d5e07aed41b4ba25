package serde

import (
	"bytes"
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

// FuzzUnframe feeds what stands before the bytes, and in a header in its place.
func FuzzUnframe(f *testing.F) {
	guid := append([]byte{1}, make([]byte, 16)...)
	f.Add([]byte("\x00\x00\x00\x00\x01\x02\x02body"), []byte(nil), false, false)
	f.Add([]byte("body"), append(guid, 2, 2), true, false)
	f.Add([]byte{}, []byte("\x00\x00\x00\x00\x01\x04\x00\x02"), true, true)
	f.Add([]byte("\x01"), guid[:9], true, true)
	f.Fuzz(func(t *testing.T, data, header []byte, inHeader, key bool) {
		at := pipeline.Slot{Topic: "t", Key: key, Headers: new(pipeline.Headers)}
		if inHeader {
			// The last one of the right name counts.
			*at.Headers = pipeline.Headers{{Key: schemaHeader(at), Value: data}, {Key: schemaHeader(at), Value: header}, {Key: schemaHeader(pipeline.Slot{Key: !key}), Value: data}}
		}
		m, kind := unframe(at, data)
		if kind != nil {
			return
		}
		from := data
		if inHeader {
			from = header
		}
		head := prefixOf(m.writer)
		rest := m.body
		if inHeader {
			rest = m.head
			if !bytes.Equal(m.body, data) {
				t.Fatalf("% x is not the body % x", m.body, data)
			}
		}
		if m.inHeader != inHeader || !bytes.Equal(append(head, rest...), from) {
			t.Fatalf("% x is taken apart into %v and % x", from, m.writer, rest)
		}
		indexes(t, rest)
	})
}

func prefixOf(w writer) []byte {
	if w.id != 0 {
		return prefix(w.id)
	}
	return header(w.guid)
}

// indexes checks that a place is at the beginning, and what follows is the rest.
func indexes(t *testing.T, data []byte) {
	rest := data
	place, err := takeIndexes(&rest)
	if err != nil {
		if !bytes.Equal(rest, data) {
			t.Fatal("cut off in spite of an error")
		}
		return
	}
	if !bytes.HasSuffix(data, rest) || len(place) == 0 {
		t.Fatalf("% x gives % x and % x", data, place, rest)
	}
	again := place
	if same, err := takeIndexes(&again); err != nil || !bytes.Equal(same, place) || len(again) != 0 {
		t.Fatalf("% x read again is % x, %v", place, same, err)
	}
}
