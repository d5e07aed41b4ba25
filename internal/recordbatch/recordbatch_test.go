package recordbatch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// read decodes a batch with an independent client's reader.
func read(t *testing.T, wire []byte) (*kmsg.RecordBatch, []*kgo.Record) {
	t.Helper()
	batch := new(kmsg.RecordBatch)
	if err := batch.ReadFrom(wire); err != nil {
		t.Fatalf("batch: %v", err)
	}
	var partition kmsg.FetchResponseTopicPartition
	partition.RecordBatches = wire
	partition.HighWatermark = 1 << 40
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &partition, kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		t.Fatalf("records: %v", got.Err)
	}
	return batch, got.Records
}

type record struct {
	at         int64
	key, value []byte
	headers    []Header
}

func randomRecord(rnd *rand.Rand, at int64) record {
	bytesOrNil := func(most int) []byte {
		n := rnd.IntN(most+2) - 1
		if n < 0 {
			return nil
		}
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rnd.IntN(4))
		}
		return p
	}
	r := record{at: at, key: bytesOrNil(40), value: bytesOrNil(300)}
	for range rnd.IntN(3) {
		r.headers = append(r.headers, Header{Key: string(bytesOrNil(10)), Value: bytesOrNil(70)})
	}
	return r
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func check(t *testing.T, body *Body, want []record, got []*kgo.Record) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	i := 0
	for at := range body.Timestamps() {
		if at != want[i].at {
			t.Fatalf("timestamp %d of record %d, want %d", at, i, want[i].at)
		}
		i++
	}
	for i, r := range got {
		w := want[i]
		if !same(r.Key, w.key) || !same(r.Value, w.value) || r.Timestamp.UnixMilli() != w.at || r.Offset != int64(i) || len(r.Headers) != len(w.headers) {
			t.Fatalf("record %d is %+v, want %+v", i, r, w)
		}
		for j, h := range r.Headers {
			if h.Key != w.headers[j].Key || !same(h.Value, w.headers[j].Value) {
				t.Fatalf("header %d of record %d is %+v, want %+v", j, i, h, w.headers[j])
			}
		}
	}
}

func build(records []record) *Body {
	b := new(Body)
	for _, r := range records {
		b.Append(math.MaxInt, r.at, r.key, r.value, r.headers)
	}
	return b
}

func TestLimit(t *testing.T) {
	b := new(Body)
	value := make([]byte, 100)
	if !b.Append(10, 1, nil, value, nil) {
		t.Error("the first record is refused for its size")
	}
	size := len(b.Bytes())
	if b.Append(2*size-1, 1, nil, value, nil) {
		t.Error("a record was taken for which there is no room")
	}
	if !b.Append(2*size, 1, nil, value, nil) || len(b.Bytes()) != 2*size {
		t.Errorf("a record that just fits was refused, or takes %d bytes instead of %d", len(b.Bytes())-size, size)
	}
}

func TestAnIndependentReaderAgrees(t *testing.T) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			c, err := NewCompressor(codec, DefaultLevel)
			if err != nil {
				t.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(1, uint64(codec)))
			var buf []byte
			for range 100 {
				var want []record
				for range 1 + rnd.IntN(400) {
					want = append(want, randomRecord(rnd, rnd.Int64N(1<<42)))
				}
				b := build(want)
				if buf, err = c.Compress(buf, b.Bytes()); err != nil {
					t.Fatal(err)
				}
				f := Frame{Codec: codec, Transactional: rnd.IntN(2) == 0, ProducerID: rnd.Int64(), ProducerEpoch: 7, FirstSequence: 1 << 30}
				batch, got := read(t, append(AppendHeader(nil, f, b, buf), buf...))
				check(t, b, want, got)
				if batch.ProducerID != f.ProducerID || batch.ProducerEpoch != f.ProducerEpoch || batch.FirstSequence != f.FirstSequence ||
					batch.Attributes&transactionalBit != 0 != f.Transactional || batch.NumRecords != b.Count() || batch.LastOffsetDelta != b.Count()-1 ||
					batch.FirstTimestamp != b.First() || batch.MaxTimestamp != b.Max() || batch.PartitionLeaderEpoch != -1 {
					t.Fatalf("the header says %+v, want %+v", batch, f)
				}
			}
		})
	}
}

func TestSplit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var want []record
		for range 2 + rnd.IntN(200) {
			want = append(want, randomRecord(rnd, rnd.Int64N(1<<42)))
		}
		b, tail := build(want), new(Body)
		at := 1 + rnd.Int32N(b.Count()-1)
		if err := b.Split(at, tail); err != nil {
			t.Fatal(err)
		}
		for i, half := range []*Body{b, tail} {
			want := [][]record{want[:at], want[at:]}[i]
			batch, got := read(t, append(AppendHeader(nil, Frame{ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}, half, half.Bytes()), half.Bytes()...))
			check(t, half, want, got)
			latest := int64(0)
			for _, r := range want {
				latest = max(latest, r.at)
			}
			if batch.MaxTimestamp != latest {
				t.Fatalf("latest timestamp %d, want %d", batch.MaxTimestamp, latest)
			}
		}
		again := build(want[:at])
		if !bytes.Equal(again.Bytes(), b.Bytes()) {
			t.Fatal("the first half is not what it would be alone")
		}
	}
	broken := &Body{raw: []byte{200, 1}, count: 2}
	if err := broken.Split(1, new(Body)); err == nil {
		t.Error("a corrupt body was split")
	}
}

func TestVarintLen(t *testing.T) {
	for shift := range 63 {
		for _, v := range []int64{1 << shift, 1<<shift - 1, -(1 << shift), 1 - 1<<shift} {
			if got, want := varintLen(v), len(binary.AppendVarint(nil, v)); got != want {
				t.Errorf("varint of %d takes %d bytes, want %d", v, got, want)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	text := bytes.Repeat([]byte("all work and no play makes jack a dull boy. "), 2000)
	size := func(codec Codec, level int) int {
		t.Helper()
		c, err := NewCompressor(codec, level)
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Compress(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		return len(out)
	}
	if fast, best := size(Gzip, 1), size(Gzip, 9); best >= fast {
		t.Errorf("gzip: %d bytes at level 9, %d at level 1", best, fast)
	}
	if fast, best := size(Zstd, 1), size(Zstd, 19); best > fast {
		t.Errorf("zstd: %d bytes at level 19, %d at level 1", best, fast)
	}
	if _, err := NewCompressor(Gzip, 42); err == nil {
		t.Error("gzip has no level 42")
	}
	if _, err := NewCompressor(9, DefaultLevel); err == nil {
		t.Error("there is no codec 9")
	}
}

func TestNoAllocations(t *testing.T) {
	b := new(Body)
	b.Reset(make([]byte, 0, 1<<20))
	key, value, headers := make([]byte, 16), make([]byte, 200), []Header{{"k", []byte("v")}}
	if n := testing.AllocsPerRun(1000, func() { b.Append(math.MaxInt, 1, key, value, headers) }); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}
