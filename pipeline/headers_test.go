package pipeline_test

import (
	"slices"
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

func headerTexts(h pipeline.Headers) []string {
	var out []string
	for _, x := range h {
		out = append(out, x.Key+"="+string(x.Value))
	}
	return out
}

func TestHeaders(t *testing.T) {
	h := append(make(pipeline.Headers, 0, 10), header("a", "1"), header("b", "2"), header("a", "3")) // with room to write into
	before := headerTexts(h)

	if v, ok := h.Get("a"); string(v) != "3" || !ok {
		t.Errorf("Get(a) = %q, %v, want the last", v, ok)
	}
	if v, ok := h.Get("x"); v != nil || ok {
		t.Errorf("Get(x) = %q, %v", v, ok)
	}
	var all []string
	for v := range h.All("a") {
		all = append(all, string(v))
	}
	if !slices.Equal(all, []string{"1", "3"}) {
		t.Errorf("All(a) = %q", all)
	}
	for range h.All("a") {
		break
	}

	for _, c := range []struct {
		name string
		got  pipeline.Headers
		want []string
	}{
		{"Add", h.Add("a", []byte("4")), []string{"a=1", "b=2", "a=3", "a=4"}},
		{"Set", h.Set("a", []byte("4")), []string{"b=2", "a=4"}},
		{"Set of a new key", h.Set("c", []byte("4")), []string{"a=1", "b=2", "a=3", "c=4"}},
		{"Del", h.Del("a"), []string{"b=2"}},
		{"Del of several", h.Del("a", "b", "x"), nil},
		{"Del of none", h.Del(), before},
		{"Add to none", pipeline.Headers(nil).Add("a", nil), []string{"a="}},
	} {
		if got := headerTexts(c.got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.name != "Add to none" && len(c.got) > 0 {
			c.got[0].Key = "changed"
		}
		if got := headerTexts(h); !slices.Equal(got, before) {
			t.Fatalf("%s changed its receiver to %q", c.name, got)
		}
	}
	one, two := h.Add("x", nil), h.Add("y", nil)
	if one[3].Key != "x" || two[3].Key != "y" {
		t.Error("two headers made from the same share memory")
	}
}
