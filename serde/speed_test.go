package serde_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

// BenchmarkAvroAgainstLibrary runs Leat and the bare library in turn, so that both meet
// the machine in the same state, and reports the ratio of the medians: what framing, the
// look-up of the id and the choice of the decoder cost on top. The library is given a
// pointer to what stays, which is the least that it can cost.
//
//	go test -run '^$' -bench AvroAgainstLibrary ./serde
func BenchmarkAvroAgainstLibrary(b *testing.B) {
	_, reg := newFake(b)
	note := "leave it with the neighbours, second floor on the left, please"
	o := Order{ // some 210 bytes
		OrderID: "us-east:order-000000123456", CustomerID: "customer-3f2b8c1e-9a77-4a54-b1f2-0c6d5e1a9b42", Amount: 1999, Status: "PAID",
		CreatedAt: time.UnixMilli(1_700_000_000_123).UTC(), Note: &note, Tags: []string{"express", "gift-wrap", "fragile-goods", "first-order", "newsletter"},
	}
	at, ctx := pipeline.Slot{Topic: "orders"}, b.Context()
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	data, err := s.Append(ctx, []byte{}, at, o)
	check(b, err)
	library, err := avro.Parse(orderAvsc)
	check(b, err)
	resolved, err := avro.Resolve(library, library)
	check(b, err)
	buf := make([]byte, 0, 1024)
	into := new(Order)

	b.Run("append", func(b *testing.B) { // as an output does
		p := s.(pipeline.PointerEncoder[Order])
		from := o
		inTurn(b,
			func() { _, err = p.AppendPointer(ctx, buf, at, &from) },
			func() { _, err = library.AppendEncode(buf, &from) })
		check(b, err)
	})
	b.Run("append a value", func(b *testing.B) { // which has to be copied first
		inTurn(b,
			func() { _, err = s.Append(ctx, buf, at, o) },
			func() { *into = o; _, err = library.AppendEncode(buf, into) })
		check(b, err)
	})
	b.Run("decode", func(b *testing.B) { // as an input does
		p := s.(pipeline.PointerDecoder[Order])
		v := new(Order)
		inTurn(b,
			func() { *v = Order{}; err = p.DecodePointer(ctx, at, data, v) },
			func() { *into = Order{}; _, err = resolved.Decode(data[5:], into) })
		check(b, err)
	})
	b.Run("decode a value", func(b *testing.B) {
		inTurn(b,
			func() { _, err = s.Decode(ctx, at, data) },
			func() { *into = Order{}; _, err = resolved.Decode(data[5:], into) })
		check(b, err)
	})
	b.Run("decode a flat record", func(b *testing.B) { // what is Leat's own shows most
		f := serde.Avro[flat](reg, serde.Schema(flatAvsc))
		data, err := f.Append(ctx, []byte{}, at, flat{1, 2, true})
		check(b, err)
		library, err := avro.Parse(flatAvsc)
		check(b, err)
		resolved, err := avro.Resolve(library, library)
		check(b, err)
		into := new(flat)
		inTurn(b,
			func() { _, err = f.Decode(ctx, at, data) },
			func() { _, err = resolved.Decode(data[5:], into) })
		check(b, err)
	})
}

// inTurn reports the medians of both, run in turn by chunks, and their ratio.
func inTurn(b *testing.B, ours, theirs func()) {
	const chunk = 500
	var nsOurs, nsTheirs []float64
	measure := func(f func()) float64 {
		began := time.Now()
		for range chunk {
			f()
		}
		return float64(time.Since(began).Nanoseconds()) / chunk
	}
	for b.Loop() {
		nsOurs, nsTheirs = append(nsOurs, measure(ours)), append(nsTheirs, measure(theirs))
	}
	b.ReportMetric(0, "ns/op") // an op is a pair of chunks
	x, y := median(nsOurs), median(nsTheirs)
	b.ReportMetric(x, "leat-ns")
	b.ReportMetric(y, "library-ns")
	b.ReportMetric(x/y, "ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
