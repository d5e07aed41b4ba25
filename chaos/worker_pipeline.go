//go:build unix

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// input is a record on its way, with the unit that it is in; nil without units.
type input struct {
	value []byte
	unit  *unit
	count uint64 // 0 without counts
}

// output is what an input makes.
type output struct {
	input
	topic int
}

// newPipeline makes the pipeline that package workload specifies.
func newPipeline(o workerOptions, w *reporter) *pipeline.Pipeline {
	p := pipeline.New("chaos", pipeline.DeadLetter(o.topics.Outputs[workload.DeadLetters]))
	raw := pipeline.From(p, o.topics.Input, serde.Bytes())
	var inputs pipeline.Stream[input]
	if o.manifests {
		var manifests pipeline.Stream[[]byte]
		inputs, manifests = inUnits(raw, w)
		pipeline.To(manifests, o.topics.Outputs[workload.Manifests], serde.Bytes())
	} else {
		inputs = stages.Map(raw, "bare", func(value []byte) (input, error) { return input{value: value}, nil })
	}
	known := stages.CheckCtx(inputs, "check", func(ctx context.Context, in input) error {
		return errors.Join(o.slow.pass(ctx), in.check())
	})
	kept := stages.Filter(known, "kept", input.kept)
	if o.topics.Counts != "" {
		kept = numbered(kept, o.topics.Counts)
	}
	made := stages.FlatMapRecord(kept, "make", outputsOf)
	counted := stages.Peek(made, "count", output.count)
	stages.Route(counted, "outputs", func(out output) string { return o.topics.Outputs[out.topic] },
		o.topics.Outputs[workload.Left:workload.Right+1], outputSerde{})
	return p
}

// number is the how many-th of its key the input in it is. What is kept is the count.
type number struct {
	count uint64
	input input
}

// numbered gives inputs their numbers, which are state.
func numbered(s pipeline.Stream[input], topic string) pipeline.Stream[input] {
	add := func(_ context.Context, w stages.Windowed[number], r *pipeline.Record[input]) (number, error) {
		return number{w.Value.count + 1, r.Value}, nil
	}
	counts := stages.AggregateRecord(s, "counts", numberSerde{}, add, stages.AggregateConfig{Topic: topic})
	return stages.Map(counts, "numbered", func(w stages.Windowed[number]) (input, error) {
		in := w.Value.input
		in.count = w.Value.count
		return in, nil
	})
}

// numberSerde keeps counts.
type numberSerde struct{}

func (numberSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, v number) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, v.count), nil
}

func (numberSerde) Decode(_ context.Context, _ pipeline.Slot, data []byte) (v number, err error) {
	if len(data) != 8 {
		return v, errors.New("no count")
	}
	v.count = binary.BigEndian.Uint64(data)
	return v, nil
}

var errKind = errors.New("the input is of no known kind")

func (in input) check() error {
	if in.value == nil {
		return nil
	}
	if len(in.value) >= workload.Head {
		switch workload.Kind(in.value[0]) {
		case workload.Regular, workload.Dropped, workload.Swells, workload.Bursts:
			return nil
		}
	}
	return errKind
}

func (in input) kept() bool { return len(in.value) == 0 || in.value[0] != byte(workload.Dropped) }

func (out output) count() {
	if out.unit != nil {
		out.unit.pending[out.topic]++
	}
}

// outputsOf makes an input's outputs.
func outputsOf(_ context.Context, r *pipeline.Record[input]) ([]pipeline.Record[output], error) {
	in := r.Value
	if in.value == nil {
		return []pipeline.Record[output]{out(r, 0, workload.Left, nil)}, nil
	}
	number := binary.BigEndian.Uint64(in.value[1:workload.Head])
	count := 1 + number%3
	oversize := map[workload.Kind]int{workload.Swells: workload.SwollenSize, workload.Bursts: workload.BurstSize}[workload.Kind(in.value[0])]
	if oversize > 0 {
		count = 1
	}
	var outs []pipeline.Record[output]
	for i := range count {
		value := append(make([]byte, 0, len(in.value)+8), byte(i))
		value = append(value, in.value[1:workload.Head]...)
		for _, b := range in.value[workload.Head:] {
			value = append(value, b^byte(37*(i+1)))
		}
		if in.count > 0 {
			value = binary.BigEndian.AppendUint64(value, in.count)
		}
		topic := workload.Right
		if (number/3+i)%2 == 0 {
			topic = workload.Left
		}
		outs = append(outs, out(r, int(i), topic, value))
	}
	if oversize > 0 {
		outs = append(outs, out(r, 1, workload.Right, noise(number, oversize)))
	}
	return outs, nil
}

func out(r *pipeline.Record[input], index, topic int, value []byte) pipeline.Record[output] {
	o := pipeline.With(r, output{input: input{value: value, unit: r.Value.unit}, topic: topic})
	h := make(pipeline.Headers, len(r.Headers), len(r.Headers)+4)
	copy(h, r.Headers)
	h = append(h,
		pipeline.Header{Key: workload.HeaderPartition, Value: strconv.AppendInt(nil, int64(r.Origin.Partition), 10)},
		pipeline.Header{Key: workload.HeaderOffset, Value: strconv.AppendInt(nil, r.Origin.Offset, 10)},
		pipeline.Header{Key: workload.HeaderIndex, Value: strconv.AppendInt(nil, int64(index), 10)},
	)
	if u := r.Value.unit; u != nil {
		h = append(h, pipeline.Header{Key: workload.HeaderUnit, Value: []byte(u.name)})
	}
	o.Headers = h
	return o
}

// noise does not compress.
func noise(number uint64, size int) []byte {
	source := rand.NewPCG(number, 0)
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, source.Uint64())
	}
	return b[:size]
}

// outputSerde writes an output's bytes.
type outputSerde struct{}

func (outputSerde) View(v output) []byte { return v.value }

func (outputSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, v output) ([]byte, error) {
	if v.value == nil {
		return nil, nil
	}
	return append(dst, v.value...), nil
}

func (outputSerde) Decode(context.Context, pipeline.Slot, []byte) (output, error) {
	return output{}, errors.New("outputs are only written")
}
