package serde_test

import (
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/hamba"
)

// flat has no field whose decoding must allocate.
type flat struct {
	A int64   `avro:"a"`
	B float64 `avro:"b"`
	C bool    `avro:"c"`
}

const flatAvsc = `{"type":"record","name":"Flat","fields":[{"name":"a","type":"long"},{"name":"b","type":"double"},{"name":"c","type":"boolean"}]}`

func TestAllocations(t *testing.T) {
	if raceEnabled {
		return // the detector makes sync.Pool drop items at random
	}
	_, reg := newFake(t)
	ctx := t.Context()
	at := pipeline.Slot{Topic: "orders"}
	buf := make([]byte, 0, 1024)
	measure := func(what string, want float64, f func()) {
		t.Helper()
		f()
		if got := testing.AllocsPerRun(500, f); got > want {
			t.Errorf("%s: %.1f allocations, want %.0f", what, got, want)
		}
	}
	order := orders()[0]
	a := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	measure("Avro Append", 0, func() { _, _ = a.Append(ctx, buf[:0], at, order) })
	f := serde.Avro[flat](reg, serde.Schema(flatAvsc))
	fl := encode(t, f, "flat", flat{1, 2, true})
	measure("Avro Append, flat", 0, func() { _, _ = f.Append(ctx, buf[:0], at, flat{1, 2, true}) })
	measure("Avro Decode, flat", 0, func() { _, _ = f.Decode(ctx, at, fl) })
	h := serde.Avro[flat](reg, serde.Schema(flatAvsc), serde.Codec(hamba.Codec{}))
	measure("hamba Decode, flat", 0, func() { _, _ = h.Decode(ctx, at, fl) })
	b := serde.Bytes()
	measure("Bytes", 0, func() { _, _ = b.Append(ctx, buf[:0], at, fl); _, _ = b.Decode(ctx, at, fl) })
	s := serde.String()
	measure("String Append", 0, func() { _, _ = s.Append(ctx, buf[:0], at, "text") })
	measure("String Decode", 1, func() { _, _ = s.Decode(ctx, at, fl[:1]) })
	j := serde.JSON[flat]()
	measure("JSON Append", 0, func() { _, _ = j.Append(ctx, buf[:0], at, flat{1, 2, true}) })
}

func BenchmarkAvro(b *testing.B) {
	old := `{"type":"record","name":"Order","fields":[{"name":"extra","type":"string"},` + orderAvsc[len(`{"type":"record","name":"Order","fields":[`):]
	for name, codec := range codecs() {
		fake, reg := newFake(b)
		s := serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(codec))
		o, at := orders()[0], pipeline.Slot{Topic: "orders"}
		data, err := s.Append(b.Context(), []byte{}, at, o)
		check(b, err)
		fake.SeedSchema("old", 1, 77, avroSchema(old))
		evolved := append([]byte{0, 0, 0, 0, 77, 2, 'x'}, data[5:]...)
		buf := make([]byte, 0, 1024)
		b.Run(name+"/append", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Append(b.Context(), buf, at, o); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Decode(b.Context(), at, data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/resolve", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Decode(b.Context(), at, evolved); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSON(b *testing.B) {
	s := serde.JSON[Order]()
	o := orders()[0]
	data := encode(b, s, "t", o)
	buf := make([]byte, 0, 1024)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Append(b.Context(), buf, pipeline.Slot{}, o)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Decode(b.Context(), pipeline.Slot{}, data)
		}
	})
}
