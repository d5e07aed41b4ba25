package serde_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/leat-stream/leat/serde"
)

func TestJSONSentinels(t *testing.T) {
	plain, strict := serde.JSON[Order](), serde.JSON[Order](serde.DisallowUnknownFields())
	for _, c := range []struct {
		s    serde.Serde[Order]
		data string
		want error
	}{
		{plain, "", serde.ErrEmpty}, {strict, "", serde.ErrEmpty},
		{plain, "null", serde.ErrNull}, {plain, "{", serde.ErrMalformed}, {strict, "{", serde.ErrMalformed},
		{plain, "{} {}", serde.ErrTrailing}, {strict, "{} {}", serde.ErrTrailing}, {strict, "{}]", serde.ErrTrailing},
		{strict, `{"x":1}`, serde.ErrMalformed}, {plain, `{"x":1}`, nil}, {plain, " {} \n", nil}, {strict, " {} \n", nil},
	} {
		_, err := c.s.Decode(t.Context(), value("t"), []byte(c.data))
		if c.want == nil {
			check(t, err)
			continue
		}
		wantIs(t, err, c.want)
		wantClass(t, err, "the record's")
	}
}

func TestJSONNull(t *testing.T) {
	got, err := serde.JSON[*Order]().Decode(t.Context(), value("t"), []byte("null"))
	if err != nil || got != nil {
		t.Errorf("a pointer: %v, %v", got, err)
	}
	raw, err := serde.JSON[json.RawMessage]().Decode(t.Context(), value("t"), []byte("null"))
	if err != nil || string(raw) != "null" {
		t.Errorf("raw: %s, %v", raw, err)
	}
}

func TestJSONEncodes(t *testing.T) {
	if got := string(encode(t, serde.JSON[string](), "t", "<a&b>")); got != `"<a&b>"` {
		t.Errorf("got %s", got)
	}
	s := serde.JSON[map[string]float64]()
	_, err := s.Append(t.Context(), []byte{}, value("t"), map[string]float64{secret: math.NaN()})
	wantClass(t, err, "the record's")
	if strings.Contains(err.Error(), secret) {
		t.Errorf("quotes the value: %v", err)
	}
	// An error must not spoil the pooled encoder.
	if got := string(encode(t, s, "t", map[string]float64{"a": 1})); got != `{"a":1}` {
		t.Errorf("got %s", got)
	}
}
