package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/registry"
)

func TestAvroAsJSON(t *testing.T) {
	t.Parallel()
	const decimal = `{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}`
	rat := big.NewRat(-5, 2)
	at := time.Date(2026, 1, 31, 8, 0, 0, 1_000_000, time.UTC)
	for _, tt := range []struct {
		schema string
		value  any
		want   string
	}{
		{`"null"`, nil, `null`},
		{`"boolean"`, true, `true`},
		{`"long"`, int64(math.MinInt64), `-9223372036854775808`},
		{`"float"`, float32(0.1), `0.1`},
		{`"double"`, math.NaN(), `"NaN"`},
		{`"float"`, float32(math.Inf(1)), `"+Inf"`},
		{`"string"`, "<\u2028\x00", `"<\u2028\u0000"`},
		{`"bytes"`, []byte{}, `""`},
		{`{"type":"fixed","name":"F","size":2}`, []byte{1, 2}, `"AQI="`},
		{`{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9,"scale":3}`, rat, `"-2.500"`},
		{decimal, rat, `"-2.500"`},
		{`["null",` + decimal + `]`, map[string]any{"bytes": rat}, `"-2.500"`},
		{`{"type":"long","logicalType":"time-micros"}`, 25*time.Hour - time.Nanosecond*1000, `"00:59:59.999999"`},
		{`{"type":"long","logicalType":"timestamp-micros"}`, at, `"2026-01-31T08:00:00.001Z"`},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, at, `"2026-01-31T08:00:00.001"`},
		{`{"type":"int","logicalType":"date"}`, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), `"1969-12-31"`},
		{`{"type":"string","logicalType":"uuid"}`, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`},
		{`{"type":"int","logicalType":"nobody-knows"}`, int32(7), `7`},
		{`{"type":"array","items":{"type":"map","values":["long","string"]}}`, []any{map[string]any{"b": "x", "a": int64(1)}, map[string]any{}}, `[{"a":1,"b":"x"},{}]`},
		// Types that are but named: by their whole name, by a short one, and within themselves.
		{`{"type":"record","name":"N","namespace":"n","fields":[{"name":"z","type":` + decimal + `},{"name":"next","type":["null","N"]},{"name":"all","type":{"type":"array","items":"n.N"}}]}`,
			map[string]any{"z": rat, "all": []any{}, "next": map[string]any{"n.N": map[string]any{"z": rat, "next": nil, "all": []any{}}}},
			`{"z":"-2.500","next":{"z":"-2.500","next":null,"all":[]},"all":[]}`},
		{`{"type":"record","name":"R","namespace":"n","fields":[{"name":"d","type":{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":9,"scale":3}},{"name":"e","type":"D"},{"name":"f","type":["null","D"]}]}`,
			map[string]any{"d": rat, "e": rat, "f": map[string]any{"n.D": rat}}, `{"d":"-2.500","e":"-2.500","f":"-2.500"}`},
		// Two records of the same fields in a union.
		{`["null",{"type":"record","name":"A","fields":[{"name":"x","type":"long"}]},{"type":"record","name":"B","fields":[{"name":"x","type":` + decimal + `}]}]`,
			map[string]any{"B": map[string]any{"x": rat}}, `{"x":"-2.500"}`},
	} {
		schema, err := avro.Parse(tt.schema)
		if err != nil {
			t.Fatalf("%s: %v", tt.schema, err)
		}
		data, err := schema.Encode(tt.value)
		if err != nil {
			t.Fatalf("%s: %v", tt.schema, err)
		}
		s := registry.Schema{Type: registry.Avro, Text: tt.schema}
		decode, err := avroAsJSON{}.Decoder(s, s)
		if err != nil {
			t.Fatalf("%s: %v", tt.schema, err)
		}
		var got any
		rest, err := decode(append(data, 7), &got)
		text, _ := got.(json.RawMessage)
		if err != nil || string(text) != tt.want || !json.Valid(text) || fmt.Sprint(rest) != "[7]" {
			t.Errorf("%s: %s, %v, %v; want %s", tt.schema, text, rest, err, tt.want)
		}
	}
}
