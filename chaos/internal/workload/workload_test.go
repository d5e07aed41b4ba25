package workload

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"testing/synctest"
	"time"
)

func TestModel(t *testing.T) {
	value := func(kind Kind, number uint64, filler string) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{byte(kind)}, number), filler...)
	}
	made := func(index byte, number uint64, filler ...byte) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{index}, number), filler...)
	}
	for name, c := range map[string]struct {
		value []byte
		want  []Expected
	}{
		"null":       {nil, []Expected{{Topic: Left}}},
		"dropped":    {value(Dropped, 1, "x"), nil},
		"one, left":  {value(Regular, 6, "A"), []Expected{{Topic: Left, Value: made(0, 6, 'A'^37)}}},
		"one, right": {value(Regular, 3, "A"), []Expected{{Topic: Right, Value: made(0, 3, 'A'^37)}}},
		"three": {value(Regular, 2, "AB"), []Expected{
			{Topic: Left, Value: made(0, 2, 'A'^37, 'B'^37)},
			{Topic: Right, Index: 1, Value: made(1, 2, 'A'^74, 'B'^74)},
			{Topic: Left, Index: 2, Value: made(2, 2, 'A'^111, 'B'^111)},
		}},
		"no filler":  {value(Regular, 0, ""), []Expected{{Topic: Left, Value: made(0, 0)}}},
		"poison":     {value(Poison, 2, "A"), []Expected{{Topic: DeadLetters, Value: value(Poison, 2, "A")}}},
		"other kind": {value('z', 2, "A"), []Expected{{Topic: DeadLetters, Value: value('z', 2, "A")}}},
		"too short":  {[]byte("r"), []Expected{{Topic: DeadLetters, Value: []byte("r")}}},
		"empty":      {[]byte{}, []Expected{{Topic: DeadLetters, Value: []byte{}}}},
		"swells":     {value(Swells, 2, "A"), []Expected{{Topic: DeadLetters, Value: value(Swells, 2, "A")}}},
		"bursts":     {value(Bursts, 2, "A"), []Expected{{Topic: DeadLetters, Value: value(Bursts, 2, "A")}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.want
			Model(c.value, 0, func(got Expected) {
				if len(want) == 0 {
					t.Fatalf("%+v more than wanted", got)
				}
				if got.Topic != want[0].Topic || got.Index != want[0].Index || !bytes.Equal(got.Value, want[0].Value) || (got.Value == nil) != (want[0].Value == nil) {
					t.Errorf("got %+v, want %+v", got, want[0])
				}
				want = want[1:]
			})
			if len(want) > 0 {
				t.Errorf("%+v is missing", want)
			}
		})
	}
}

// TestModelOfCounts has the number of an input at the end of each of its outputs.
func TestModelOfCounts(t *testing.T) {
	regular := func(number uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{byte(Regular)}, number), 'A')
	}
	counts := Counts{}
	for i, c := range []struct {
		key   string
		value []byte
		want  uint64
	}{
		{"a", regular(2), 1}, {"b", regular(2), 1}, {"a", nil, 2}, {"a", []byte("poison"), 0}, {"a", append([]byte{byte(Dropped)}, regular(1)[1:]...), 0}, {"a", regular(2), 3},
	} {
		n := counts.Next([]byte(c.key), c.value)
		if n != c.want {
			t.Errorf("input %d is number %d, want %d", i, n, c.want)
		}
		outs := 0
		Model(c.value, n, func(out Expected) {
			outs++
			if KindOf(c.value) != Regular {
				return
			}
			if end := binary.BigEndian.Uint64(out.Value[len(out.Value)-8:]); end != c.want || len(out.Value) != len(c.value)+8 {
				t.Errorf("output %d of input %d ends with %d", out.Index, i, end)
			}
		})
		if KindOf(c.value) == Regular && outs != 3 {
			t.Errorf("input %d has %d outputs", i, outs)
		}
	}
}

func TestGeneratorIsAFunctionOfSeedAndNumber(t *testing.T) {
	g, other := Usual(1, 9), Usual(2, 9)
	same := 0
	partitions := map[int32]int{}
	for n := range uint64(3000) {
		a, b := g.Input(n), g.Input(n)
		if !bytes.Equal(a.Key, b.Key) || !bytes.Equal(a.Value, b.Value) || a.Partition != b.Partition {
			t.Fatalf("input %d differs from itself", n)
		}
		if c := other.Input(n); bytes.Equal(a.Key, c.Key) && bytes.Equal(a.Value, c.Value) {
			same++
		}
		partitions[a.Partition]++
		if a.Value == nil {
			continue
		}
		if size := len(a.Value) - Head; size < 50 || size > 2000 && size < 100_000 || size > 300_000 {
			t.Errorf("input %d has a filler of %d bytes", n, size)
		}
		if number := binary.BigEndian.Uint64(a.Value[1:]); number != n {
			t.Errorf("input %d says that it is %d", n, number)
		}
	}
	if same > 3 {
		t.Errorf("%d inputs are the same under another seed", same)
	}
	for p := range int32(9) {
		if partitions[p] < 200 {
			t.Errorf("partition %d gets %d of 3000", p, partitions[p])
		}
	}
}

func TestGeneratorKeepsItsShares(t *testing.T) {
	g := Generator{Seed: 3, Partitions: 3, Keys: 10, Nulls: 0.1, Dropped: 0.2, Poison: 0.1, Swells: 0.1, Bursts: 0.1}
	const n = 10_000
	kinds := map[Kind]float64{}
	for i := range uint64(n) {
		kinds[KindOf(g.Input(i).Value)] += 1.0 / n
	}
	for kind, want := range map[Kind]float64{Null: 0.1, Dropped: 0.2, Poison: 0.1, Swells: 0.1, Bursts: 0.1, Regular: 0.4} {
		if got := kinds[kind]; got < want-0.02 || got > want+0.02 {
			t.Errorf("kind %q: %.3f, want %.1f", rune(kind), got, want)
		}
	}
}

// TestGeneratorMakesTheSameInputs as ever, so that seeds of old reports can be run again.
func TestGeneratorMakesTheSameInputs(t *testing.T) {
	g, sum := Usual(1, 9), crc32.NewIEEE()
	for n := range uint64(2000) {
		in := g.Input(n)
		sum.Write(in.Key)
		sum.Write(in.Value)
	}
	if got := sum.Sum32(); got != 0x71d1fef1 {
		t.Errorf("%#x", got)
	}
}

func TestGeneratorKeepsToMaxFiller(t *testing.T) {
	for _, longest := range []int{50, 51, 200, 5000} {
		g := Generator{Seed: 1, Partitions: 1, Keys: 1, MaxFiller: longest}
		seen := 0
		for n := range uint64(5000) {
			size := len(g.Input(n).Value) - Head
			if size < 50 || size > longest {
				t.Fatalf("%d bytes of up to %d", size, longest)
			}
			seen = max(seen, size)
		}
		if seen < longest*9/10 {
			t.Errorf("no more than %d bytes of up to %d", seen, longest)
		}
	}
	for _, longest := range []int{-1, 1, 49} {
		g := Usual(1, 1)
		g.MaxFiller = longest
		if g.Validate() == nil {
			t.Errorf("a longest filler of %d is accepted", longest)
		}
	}
}

func TestGeneratorReportsAllMistakes(t *testing.T) {
	err := Generator{Nulls: -1, Dropped: 3}.Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("%v", err)
	}
	if err := Usual(1, 1).Validate(); err != nil {
		t.Error(err)
	}
}

func TestWriterKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Writer{Rate: 100}
		began := time.Now()
		for n := range uint64(201) {
			w.pace(t.Context(), began, float64(n))
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("200 inputs at 100/s took %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("over"))
		w.pace(ctx, began, 1_000_000)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("waited to %v after the end", took)
		}
	})
}
