package serde_test

import (
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// An input decodes into one place, record after record: what a record does not have must
// not be what the last one had, and what a stage keeps of one must stay as it is.
func TestDecodingIntoPlaceMixesNothing(t *testing.T) {
	_, reg := newFake(t)
	type item struct {
		Name string   `json:"name"`
		Tags []string `json:"tags,omitempty"`
	}
	s := serde.JSONSchema[item](reg)
	if _, ok := s.(pipeline.PointerDecoder[item]); !ok {
		t.Fatal("it does not decode into place")
	}
	items := []item{{"a", []string{"x", "y"}}, {"b", nil}, {"c", []string{"z"}}}
	var kept []item
	p := pipeline.New("p")
	seen := stages.Peek(pipeline.From(p, "in", s), "keep", func(v item) { kept = append(kept, v) })
	pipeline.To(seen, "out", s)
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	for _, v := range items {
		c.Feed("in", pipelinetest.Bytes(nil, encode(t, s, "in", v)))
	}
	pipelinetest.Run(t, p, c)
	if fmt.Sprint(kept) != fmt.Sprint(items) {
		t.Errorf("a stage has kept %v, want %v", kept, items)
	}
	if out := pipelinetest.Values(c, "out", s); fmt.Sprint(out) != fmt.Sprint(items) {
		t.Errorf("the output has %v, want %v", out, items)
	}
}

// The same of values that the serde decodes by itself, from a pool.
func TestDecodingFromThePoolMixesNothing(t *testing.T) {
	_, reg := newFake(t)
	s := serde.JSONSchema[map[string]int](reg, serde.Schema(`{}`))
	one, two := encode(t, s, "t", map[string]int{"a": 1}), encode(t, s, "t", map[string]int{"b": 2})
	for range 100 {
		first, err := s.Decode(t.Context(), value("t"), one)
		check(t, err)
		second, err := s.Decode(t.Context(), value("t"), two)
		check(t, err)
		if fmt.Sprint(first, second) != "map[a:1] map[b:2]" {
			t.Fatalf("got %v and %v", first, second)
		}
	}
}
