package serde

import (
	"testing"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
)

// BenchmarkLookUp is what a record pays for finding its schema: by its place when
// writing, by its id when reading.
//
//	go test -run '^$' -bench LookUp ./serde
func BenchmarkLookUp(b *testing.B) {
	fake := srfake.New()
	defer fake.Close()
	reg, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		b.Fatal(err)
	}
	s := Avro[int64](reg, Schema(`"long"`)).(*framed[int64])
	var data [][]byte
	for _, topic := range []string{"a", "b"} {
		x, err := s.Append(b.Context(), []byte{}, pipeline.Slot{Topic: topic}, 1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Decode(b.Context(), pipeline.Slot{}, x); err != nil {
			b.Fatal(err)
		}
		data = append(data, x)
	}
	topics := []string{"a", "b"}
	for name, mask := range map[string]int{"same": 0, "in turn": 1} {
		b.Run("writing, "+name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, ok := s.targets.Peek(place{topics[i&mask], false}); !ok {
					b.Fatal("not there")
				}
			}
		})
		b.Run("reading, "+name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				m, _ := unframe(pipeline.Slot{}, data[i&mask])
				if _, ok := s.decoders.Peek(m.writer.id); !ok {
					b.Fatal("not there")
				}
			}
		})
	}
}
