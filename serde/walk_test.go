package serde_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/leat-stream/leat/serde"
)

// A tree whose counts say at every depth that as many follow as there are bytes: the
// library alone would take memory for all of them, thousands of times the record.
func TestAvroTreesTakeNoMoreThanTheyHave(t *testing.T) {
	_, reg := newFake(t)
	const avsc = `{"type":"record","name":"N","fields":[{"name":"x","type":"boolean"},{"name":"kids","type":{"type":"array","items":"N"}}]}`
	type node struct {
		X    bool   `avro:"x"`
		Kids []node `avro:"kids"`
	}
	s := serde.Avro[node](reg, serde.Schema(avsc))
	good := node{Kids: []node{{}, {Kids: []node{{}}}}}
	got, err := s.Decode(t.Context(), value("t"), encode(t, s, "t", good))
	check(t, err)
	if len(got.Kids) != 2 || len(got.Kids[1].Kids) != 1 {
		t.Errorf("got %+v", got)
	}
	hostile := []byte{0, 0, 0, 0, 1}
	for left := 18_000; left > 9_000; left -= 10 { // 900 deep
		hostile = binary.AppendVarint(append(hostile, 0), int64(left))
	}
	hostile = append(hostile, bytes.Repeat([]byte{0}, 18_000)...)
	any := serde.AvroAny(reg, serde.Schema(avsc))
	for what, decode := range map[string]func(){
		"typed": func() { _, err = s.Decode(t.Context(), value("t"), hostile) },
		"any":   func() { _, err = any.Decode(t.Context(), value("t"), hostile) },
	} {
		n := allocated(decode)
		wantIs(t, err, serde.ErrMalformed)
		if n > 1<<20 {
			t.Errorf("%s: %d bytes take %d bytes of memory", what, len(hostile), n)
		}
	}
	deep := append([]byte{0, 0, 0, 0, 1}, bytes.Repeat([]byte{0, 2}, 2000)...)
	_, err = s.Decode(t.Context(), value("t"), append(deep, bytes.Repeat([]byte{0}, 3000)...))
	wantIs(t, err, serde.ErrMalformed)
}

// Short names stand in the namespace around them, nested ones and those of trees too.
func TestAvroNamesInNamespaces(t *testing.T) {
	_, reg := newFake(t)
	for _, avsc := range []string{
		`{"type":"record","name":"Order","namespace":"acme","fields":[{"name":"a","type":{"type":"enum","name":"Status","symbols":["NEW"]}},{"name":"b","type":"Status"}]}`,
		`{"type":"record","name":"acme.Order","fields":[{"name":"a","type":{"type":"enum","name":"Status","symbols":["NEW"]}},{"name":"b","type":"acme.Status"}]}`,
		`{"type":"record","name":"Order","namespace":"acme","fields":[{"name":"a","type":{"type":"enum","name":"Status","namespace":"other","symbols":["NEW"]}},{"name":"b","type":"other.Status"}]}`,
	} {
		s := serde.AvroAny(reg, serde.Schema(avsc))
		check(t, s.(serde.Validator).Validate())
		data := encode(t, s, "t", any(map[string]any{"a": "NEW", "b": "NEW"}))
		_, err := s.Decode(t.Context(), value("t"), data)
		check(t, err)
	}
	const tree = `{"type":"record","name":"Node","namespace":"acme","fields":[{"name":"x","type":{"type":"record","name":"Inner","namespace":"other","fields":[{"name":"back","type":["null","acme.Node"]}]}},{"name":"kids","type":{"type":"array","items":"Node"}}]}`
	check(t, serde.AvroAny(reg, serde.Schema(tree)).(serde.Validator).Validate())
}
