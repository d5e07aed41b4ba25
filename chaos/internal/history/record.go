package history

import (
	"fmt"
	"hash/maphash"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Record is a record of an output topic, in 48 bytes: its text is not kept.
type Record struct {
	// Offset is its own, in its partition.
	Offset int64
	// Source is the input's offset; of a manifest, that of the first input.
	Source int64
	// Key and Value are hashes.
	Key, Value uint64
	// Unit is 0 for none.
	Unit UnitID
	// Partition is the input's.
	Partition int32
	// Index is the output's among those of its input.
	Index int32
}

// hashes are comparable within a process.
var seed = maphash.MakeSeed()

// Hash is a key's or a value's, 0 for null.
func Hash(data []byte) uint64 {
	if data == nil {
		return 0
	}
	return maphash.Bytes(seed, data)
}

// parse reads an output or a dead letter.
func parse(r *kgo.Record, topic int, units *Units) (Record, error) {
	out := Record{Offset: r.Offset, Key: Hash(r.Key), Value: Hash(r.Value)}
	partition, offset := workload.HeaderPartition, workload.HeaderOffset
	if topic == workload.DeadLetters {
		partition, offset = workload.DeadLetterPartition, workload.DeadLetterOffset
	} else {
		index, err := number(r, workload.HeaderIndex)
		if err != nil {
			return out, err
		}
		out.Index = int32(index)
		if unit, err := header(r, workload.HeaderUnit); err == nil {
			out.Unit = units.ID(unit)
		}
	}
	p, err := number(r, partition)
	if err != nil {
		return out, err
	}
	out.Partition = int32(p)
	out.Source, err = number(r, offset)
	return out, err
}

func number(r *kgo.Record, key string) (int64, error) {
	text, err := header(r, key)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("header %s is no number", key)
	}
	return n, nil
}

// header returns the only header with a key.
func header(r *kgo.Record, key string) (value []byte, err error) {
	n := 0
	for _, h := range r.Headers {
		if h.Key == key {
			value, n = h.Value, n+1
		}
	}
	if n != 1 {
		return nil, fmt.Errorf("%d headers %s", n, key)
	}
	return value, nil
}
