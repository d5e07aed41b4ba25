package pipeline

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// encode does one encoding in one of the ways in which a serde may, or should not
// but does.
func (how arenaWay) encode(dst []byte, v []byte) []byte {
	switch how {
	case wayNil:
		return nil
	case wayEmpty:
		return dst
	case wayForeign:
		return bytes.Clone(v)
	case wayForeignRoomy:
		return append(make([]byte, 0, len(v)+100), v...)
	case wayClipped:
		out := append(dst, v...)
		return out[:len(out):len(out)]
	case wayPart: // writes a scratch word first and leaves it out
		return append(append(dst, "scratch"...), v...)[7:]
	case wayPartClipped:
		out := append(append(dst, "scratch"...), v...)[7:]
		return out[:len(out):len(out)]
	case wayScratch: // uses dst for something else and returns another
		_ = append(dst, "scratch"...)
		return bytes.Clone(v)
	default:
		return append(dst, v...)
	}
}

type arenaWay byte

const (
	wayAppend arenaWay = iota
	wayNil
	wayEmpty
	wayForeign
	wayForeignRoomy
	wayClipped
	wayPart
	wayPartClipped
	wayScratch
	ways
)

// FuzzArena checks that no encoding ever changes another, whatever encoders
// return, and that appending to one does not either.
func FuzzArena(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, uint64(1))
	f.Add(bytes.Repeat([]byte{0}, 200), uint64(2))
	f.Add(bytes.Repeat([]byte{0, 6, 5, 7}, 200), uint64(3))
	f.Fuzz(func(t *testing.T, plan []byte, seed uint64) {
		if len(plan) > 1000 {
			plan = plan[:1000]
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		var a arena
		var got, want [][]byte
		for _, b := range plan {
			how := arenaWay(b) % ways
			v := make([]byte, sizes[rnd.IntN(len(sizes))])
			for i := range v {
				v[i] = byte(rnd.Uint32())
			}
			dst := a.open()
			if dst == nil || len(dst) != 0 {
				t.Fatalf("open returned %v", dst)
			}
			enc := a.close(dst, how.encode(dst, v))
			switch how {
			case wayNil:
				v = nil
			case wayEmpty:
				v = v[:0]
			}
			if (enc == nil) != (v == nil) || !bytes.Equal(enc, v) {
				t.Fatalf("way %d: got %d bytes (nil: %v), want %d (nil: %v)", how, len(enc), enc == nil, len(v), v == nil)
			}
			got, want = append(got, enc), append(want, bytes.Clone(v))
		}
		for _, g := range got {
			_ = append(g, "overwritten"...)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("encoding %d of %d was changed by a later one", i, len(got))
			}
		}
	})
}

var sizes = []int{0, 1, 7, 100, 1000, arenaChunk / 8, arenaChunk - 1, arenaChunk, arenaChunk + 1}

func TestArenaSharesChunks(t *testing.T) {
	var a arena
	v := make([]byte, 100)
	n := testing.AllocsPerRun(100, func() {
		for range 100 {
			dst := a.open()
			a.close(dst, append(dst, v...))
		}
	})
	if n > 1 {
		t.Errorf("%v allocations for 10 kB of encodings, want at most a chunk", n)
	}
}
