package stages_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/stages"
)

// sample is the value of the benchmarks: a few words, as a decoded record is.
type sample struct {
	ID     int64
	Amount int64
	Region string
}

// sampleSerde decodes and encodes without an allocation of its own.
type sampleSerde struct{}

var errShort = errors.New("too short")

func (sampleSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, v sample) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.ID))
	return binary.BigEndian.AppendUint64(dst, uint64(v.Amount)), nil
}

func (sampleSerde) Decode(_ context.Context, _ pipeline.Slot, data []byte) (sample, error) {
	if len(data) < 16 {
		return sample{}, errShort
	}
	return sample{
		ID: int64(binary.BigEndian.Uint64(data)), Amount: int64(binary.BigEndian.Uint64(data[8:])), Region: "eu-west",
	}, nil
}

var errNegative = errors.New("negative amount")

func (s sample) valid() error {
	if s.Amount < 0 {
		return errNegative
	}
	return nil
}

func (s sample) wanted() bool { return s.ID >= 0 }

func (s sample) doubled() (sample, error) {
	s.Amount *= 2
	return s, nil
}

func (s sample) next() (sample, error) {
	s.ID++
	return s, nil
}

// The methods are reached through variables in the hand-written loop, since a
// library's user passes functions that nothing can inline either.
var (
	sampleValid   = sample.valid
	sampleWanted  = sample.wanted
	sampleDoubled = sample.doubled
	sampleNext    = sample.next
)

func chain4(tb testing.TB) *pipeline.Task {
	tb.Helper()
	p := pipeline.New("bench")
	s := pipeline.From(p, "in", sampleSerde{})
	valid := stages.Check(s, "valid", sampleValid)
	wanted := stages.Filter(valid, "wanted", sampleWanted)
	doubled := stages.Map(wanted, "doubled", sampleDoubled)
	next := stages.Map(doubled, "next", sampleNext)
	pipeline.To(next, "out", sampleSerde{})
	return compile(tb, p, "in")
}

func benchRecord() *pipeline.Raw {
	return &pipeline.Raw{
		Key: []byte("eu-west:17"), Value: make([]byte, 16), Timestamp: time.UnixMilli(1700000000000),
		Headers: pipeline.Headers{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}},
		Origin:  pipeline.Origin{Topic: "in", Partition: 3, Offset: 42},
	}
}

const benchBatch = 500 // records between two hand-overs, as an engine would

// BenchmarkChain4 is decode, four trivial stages, encode and staging.
func BenchmarkChain4(b *testing.B) {
	t, r, ctx := chain4(b), benchRecord(), b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := t.Process(ctx, r); err != nil {
			b.Fatal(err)
		}
		if i%benchBatch == 0 {
			t.Clear()
		}
	}
}

// BenchmarkHandWritten is the same work without the library: it decodes, checks,
// filters, maps twice, encodes into a shared chunk, and stages an output that
// carries key, headers, timestamp and origin.
func BenchmarkHandWritten(b *testing.B) {
	r, ctx := benchRecord(), b.Context()
	var h handWritten
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := h.process(ctx, r); err != nil {
			b.Fatal(err)
		}
		if i%benchBatch == 0 {
			clear(h.staged)
			h.staged = h.staged[:0]
		}
	}
}

type handWritten struct {
	serde  sampleSerde
	free   []byte
	staged []pipeline.Output
}

func (h *handWritten) process(ctx context.Context, raw *pipeline.Raw) error {
	v, err := h.serde.Decode(ctx, pipeline.Slot{Topic: "in", Headers: &raw.Headers}, raw.Value)
	if err != nil {
		return err
	}
	r := pipeline.With(raw, v)
	if err := sampleValid(r.Value); err != nil {
		return err
	}
	if !sampleWanted(r.Value) {
		return nil
	}
	if v, err = sampleDoubled(r.Value); err != nil {
		return err
	}
	r = pipeline.With(&r, v)
	if v, err = sampleNext(r.Value); err != nil {
		return err
	}
	r = pipeline.With(&r, v)
	o := pipeline.Output{Topic: "out", Key: r.Key, Headers: r.Headers, Timestamp: r.Timestamp, Origin: r.Origin}
	if cap(h.free) < 8<<10 {
		h.free = make([]byte, 0, 64<<10)
	}
	enc, err := h.serde.Append(ctx, h.free[:0], pipeline.Slot{Topic: "out", Headers: &o.Headers}, r.Value)
	if err != nil {
		return err
	}
	h.free = enc[len(enc):]
	o.Value = enc[:len(enc):len(enc)]
	h.staged = append(h.staged, o)
	return nil
}

// A record that passes four stages costs no allocation of its own.
func TestChainAllocations(t *testing.T) {
	task, r, ctx := chain4(t), benchRecord(), t.Context()
	run := func() {
		for range benchBatch {
			if err := task.Process(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		task.Clear()
	}
	run() // grows the staging area
	// The arena's chunk of 64 KiB is the only allocation: one for 3,500 outputs of
	// 16 bytes.
	if n := testing.AllocsPerRun(50, run); n > 1 {
		t.Errorf("%v allocations for %d records, want at most one chunk", n, benchBatch)
	}
}
