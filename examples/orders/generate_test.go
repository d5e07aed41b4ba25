package main

import (
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

func generated(t *testing.T, s servers, seed uint64, n int) (records []pipeline.Output, bad [faults]int) {
	t.Helper()
	g := newGenerator(s.client(t), seed)
	for i := range generatedCustomers {
		c, err := g.customer(t.Context(), i)
		check(t, err)
		records = append(records, c)
	}
	for range n {
		o, f, err := g.order(t.Context())
		check(t, err)
		records = append(records, o)
		bad[f]++
	}
	return records, bad
}

func TestSameSeedSameOrders(t *testing.T) {
	s := startEmbedded(t)
	first, bad := generated(t, s, 1, 2000)
	again, _ := generated(t, s, 1, 2000)
	other, _ := generated(t, s, 2, 2000)
	differs := 0
	for i := range first {
		if fmt.Sprint(first[i]) != fmt.Sprint(again[i]) {
			t.Fatalf("record %d:\n%v\n%v", i, first[i], again[i])
		}
		if fmt.Sprint(first[i]) != fmt.Sprint(other[i]) {
			differs++
		}
	}
	if differs < 2000 {
		t.Errorf("only %d of %d records differ with another seed", differs, len(first))
	}
	for f, n := range bad {
		if n < 3 {
			t.Errorf("fault %d: %d orders", f, n)
		}
	}
}
