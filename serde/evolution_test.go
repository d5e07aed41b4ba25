package serde_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/testpb"
)

// What docs/schema-evolution.md says of each format.

func TestAvroEvolutionTable(t *testing.T) {
	record := func(name, fields string) string {
		return `{"type":"record","name":"` + name + `","fields":[` + fields + `]}`
	}
	const id = `{"name":"id","type":"int"}`
	enum := func(symbols, more string) string {
		return `{"name":"e","type":{"type":"enum","name":"E","symbols":[` + symbols + `]` + more + `}}`
	}
	for name, tt := range map[string]struct {
		writer, reader string
		value          map[string]any
		class          string // of the error
		want           string // of a field
		is             error
	}{
		"a field that only the writer has":                 {record("R", id+`,{"name":"x","type":"string"}`), record("R", id), map[string]any{"id": 1, "x": "y"}, "none", "", nil},
		"a field that only the reader has, with a default": {record("R", id), record("R", id+`,{"name":"e","type":"string","default":"d"}`), map[string]any{"id": 1}, "none", "d", nil},
		"a field that only the reader has, without one":    {record("R", id), record("R", id+`,{"name":"e","type":"string"}`), map[string]any{"id": 1}, "fatal", "", serde.ErrUnresolvable},
		"a type that is promoted":                          {record("R", id), record("R", `{"name":"id","type":"double"}`), map[string]any{"id": 1}, "none", "", nil},
		"bytes to string":                                  {record("R", `{"name":"e","type":"bytes"}`), record("R", `{"name":"e","type":"string"}`), map[string]any{"e": []byte("s")}, "none", "s", nil},
		"a type that is not":                               {record("R", id), record("R", `{"name":"id","type":"string"}`), map[string]any{"id": 1}, "fatal", "", serde.ErrUnresolvable},
		"a renamed field, with an alias":                   {record("R", `{"name":"old","type":"string"}`), record("R", `{"name":"e","type":"string","aliases":["old"]}`), map[string]any{"old": "o"}, "none", "o", nil},
		"a renamed field, without one":                     {record("R", `{"name":"old","type":"string"}`), record("R", `{"name":"e","type":"string","default":"d"}`), map[string]any{"old": "o"}, "none", "d", nil},
		"a renamed record, with an alias":                  {record("Old", id), `{"type":"record","name":"R","aliases":["Old"],"fields":[` + id + `]}`, map[string]any{"id": 1}, "none", "", nil},
		"a renamed record, without one":                    {record("Old", id), record("R", id), map[string]any{"id": 1}, "fatal", "", serde.ErrUnresolvable},
		"a new symbol, and a default":                      {record("R", enum(`"A","B"`, "")), record("R", enum(`"A"`, `,"default":"A"`)), map[string]any{"e": "B"}, "none", "A", nil},
		"a new symbol, and none":                           {record("R", enum(`"A","B"`, "")), record("R", enum(`"A"`, "")), map[string]any{"e": "B"}, "fatal", "", serde.ErrUnresolvable},
		"a new symbol, and none, in a record without it":   {record("R", enum(`"A","B"`, "")), record("R", enum(`"A"`, "")), map[string]any{"e": "A"}, "fatal", "", serde.ErrUnresolvable},
	} {
		t.Run(name, func(t *testing.T) {
			_, reg := newFake(t)
			data := encode(t, serde.AvroAny(reg, serde.Schema(tt.writer)), "t", any(tt.value))
			got, err := serde.AvroAny(reg, serde.Schema(tt.reader)).Decode(t.Context(), value("t"), data)
			wantClass(t, err, tt.class)
			if tt.is != nil {
				wantIs(t, err, tt.is)
			}
			if m, _ := got.(map[string]any); tt.want != "" && m["e"] != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestJSONSchemaEvolutionTable(t *testing.T) {
	type order struct {
		ID int `json:"id"`
	}
	fake, reg := newFake(t)
	fake.SeedSchema("t-value", 1, 1, sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"object"}`})
	open := serde.JSONSchema[order](reg, serde.Schema(`{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}`))
	derived := serde.JSONSchema[order](reg)
	lax := serde.JSONSchema[order](reg, serde.ValidateReads(false))
	for name, tt := range map[string]struct {
		s     serde.Serde[order]
		text  string
		class string
	}{
		"a property that only the writer has":             {open, `{"id":1,"more":2}`, "none"},
		"the same, with a schema that is derived":         {derived, `{"id":1,"more":2}`, "the record's"},
		"the same, read without validation":               {lax, `{"id":1,"more":2}`, "none"},
		"a property that only the reader has and demands": {open, `{}`, "the record's"},
		"the same, without validation":                    {lax, `{}`, "none"},
		"another type":                                    {open, `{"id":"1"}`, "the record's"},
	} {
		_, err := tt.s.Decode(t.Context(), value("t"), framedText(tt.text))
		t.Run(name, func(t *testing.T) { wantClass(t, err, tt.class) })
	}
}

// A number that is used again for something else is lost among the unknown fields, or read
// as what it is not.
func TestProtobufEvolutionTable(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("t-value", 1, 1, sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3"; package leat.test; message Header { int64 source = 1; }`})
	got, err := serde.Protobuf[*testpb.Header](reg).Decode(t.Context(), value("t"), []byte("\x00\x00\x00\x00\x01\x00\x08\x07"))
	check(t, err)
	if got.GetSource() != "" || len(got.ProtoReflect().GetUnknown()) == 0 {
		t.Errorf("got %v", got)
	}
	got, err = serde.Protobuf[*testpb.Header](reg).Decode(t.Context(), value("t"), []byte("\x00\x00\x00\x00\x01\x00"))
	check(t, err)
	if got == nil || got.GetSource() != "" {
		t.Errorf("got %v", got)
	}
}

// The key's bytes, which choose the partition, change with the schema's id, but for the
// header form.
func TestKeysOfTwoVersions(t *testing.T) {
	_, reg := newFake(t)
	one := encode(t, serde.AvroAny(reg, serde.Schema(`"string"`)), "t", any("k"))
	two := encode(t, serde.AvroAny(reg, serde.Schema(`{"type":"string","doc":"new"}`)), "t", any("k"))
	if string(one) == string(two) || !strings.HasSuffix(string(one), string(two[5:])) {
		t.Errorf("% x and % x", one, two)
	}
}
