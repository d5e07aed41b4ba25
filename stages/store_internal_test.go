package stages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/leat-stream/leat/pipeline"
)

// textCodec keeps strings.
var textCodec = codec[string]{
	encode: func(_ *chunk, v string) []byte { return []byte(v) },
	decode: func(b []byte) (string, error) { return string(b), nil },
	size:   func(v string) int { return len(v) },
}

// plain is text as it stands.
type plain struct{}

func (plain) Append(_ context.Context, dst []byte, _ pipeline.Slot, v string) ([]byte, error) {
	return append(dst, v...), nil
}
func (plain) Decode(_ context.Context, _ pipeline.Slot, b []byte) (string, error) {
	return string(b), nil
}

// storing is a task with a store of at most 5 entries. What a record does with it is do's;
// a stage behind holds records, and refuses them as refuse says.
func storing(t *testing.T, do func(ctx context.Context, k *store[string]) error, refuse func() bool) (*pipeline.Task, *store[string]) {
	t.Helper()
	var k *store[string]
	p := pipeline.New("test", pipeline.OnError(pipeline.Skip))
	s := pipeline.ApplyState(pipeline.From(p, "in", plain{}), "store", "store", "state",
		func(sc *pipeline.StageContext, next pipeline.Next[string], changes pipeline.Next[[]byte]) pipeline.Next[string] {
			k = keep(sc, changes, textCodec, bounds{entries: 5, bytes: 1 << 20})
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				if err := do(ctx, k); err != nil {
					return err
				}
				return next(ctx, r)
			}
		})
	s = Batch(s, "batch", BatchConfig{Size: 3}, func(vs []string) ([]string, error) {
		if refuse() {
			return nil, errors.New("refused")
		}
		return vs, nil
	})
	pipeline.To(s, "out", plain{})
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return task, k
}

// list is a store from the oldest to the youngest.
func (k *store[V]) list() (all []string) {
	for e := k.root.next; e != &k.root; e = e.next {
		all = append(all, fmt.Sprintf("%s=%v", e.key, e.value))
	}
	return all
}

// A store is at any time what the topic says of the committed transactions, after an abort
// too, and in the same order; whatever fails, is held, or comes between a hand-over and its
// commit.
func TestStoreIsWhatWasCommitted(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		n := 0
		task, k := storing(t, func(ctx context.Context, k *store[string]) error {
			for range rnd.IntN(3) {
				n++
				key := fmt.Sprint("k", rnd.IntN(8))
				if err := k.change(ctx, key, fmt.Sprint(n), rnd.IntN(4) > 0, time.UnixMilli(int64(n))); err != nil {
					return err
				}
			}
			if rnd.IntN(6) == 0 {
				return errors.New("refused")
			}
			return nil
		}, func() bool { return rnd.IntN(4) == 0 })

		fresh := func() (*pipeline.Task, *store[string]) {
			return storing(t, func(context.Context, *store[string]) error { return nil }, func() bool { return false })
		}
		_, read := fresh() // a reader of what is committed
		commit := func(handed []pipeline.Output) {
			for _, o := range handed {
				if o.Topic != "state" {
					continue
				}
				if err := read.restore(&pipeline.Raw{Key: o.Key, Value: o.Value}); err != nil {
					t.Fatal(err)
				}
			}
		}
		expect := func(when string) {
			t.Helper()
			if got, want := k.list(), read.list(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: the store is %q, the topic says %q", seed, when, got, want)
			}
			if k.len != len(k.entries) || k.bytes != read.bytes {
				t.Fatalf("seed %d, %s: %d entries of which %d are in order, %d bytes, not %d", seed, when, len(k.entries), k.len, k.bytes, read.bytes)
			}
		}
		offset := int64(0)
		process := func(records int) {
			for range records {
				r := &pipeline.Raw{Value: []byte("v"), Origin: pipeline.Origin{Topic: "in", Offset: offset}}
				offset++
				if err := task.Process(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 30 {
			process(rnd.IntN(8))
			if rnd.IntN(5) == 0 {
				task.Aborted()
				expect("aborted before the hand-over")
				continue
			}
			if err := task.BeforeCommit(t.Context()); err != nil {
				t.Fatal(err)
			}
			handed := slices.Clone(task.Outputs())
			task.Clear()
			between := rnd.IntN(4) // records go on before the transaction ends
			process(between)
			if rnd.IntN(3) == 0 {
				task.Aborted()
				expect("aborted")
				continue
			}
			task.Committed()
			commit(handed)
			if between == 0 {
				expect("committed")
			}
		}
	}
}

// An id that is a part of something large does not keep all of it.
func TestStoreKeepsKeysOfItsOwn(t *testing.T) {
	large := string(make([]byte, 1<<10)) + "key"
	task, k := storing(t, func(ctx context.Context, k *store[string]) error {
		return k.change(ctx, large[1<<10:], "v", true, time.Time{})
	}, func() bool { return false })
	if err := task.Process(t.Context(), &pipeline.Raw{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if e := k.entries["key"]; e == nil || unsafe.StringData(e.key) == unsafe.StringData(large[1<<10:]) {
		t.Errorf("the key %v is a part of what it was taken from", e)
	}
}

// Tombstones are put out some at a time.
func TestStoreForgetsInPieces(t *testing.T) {
	task, k := storing(t, func(context.Context, *store[string]) error { return nil }, func() bool { return false })
	for i := range 5000 {
		if err := k.restore(&pipeline.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if err := task.BeforeCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, want := len(task.Outputs()), min(evictions, 4995-i*evictions); n != want {
			t.Fatalf("%d tombstones, want %d", n, want)
		}
		task.Clear()
		task.Committed()
	}
	if k.len != 5 || len(k.entries) != 5 {
		t.Errorf("%d entries are left", k.len)
	}
}

// The time is that of what is kept, also in a topic whose timestamps are those of its log.
func TestRestoredTime(t *testing.T) {
	then := time.UnixMilli(5000)
	raw := func(value []byte) *pipeline.Raw {
		return &pipeline.Raw{Key: []byte("k"), Value: value, Timestamp: then.Add(time.Hour)}
	}
	ids := store[seen]{codec: seenCodec, entries: map[string]*entry[seen]{}}
	ids.root.prev, ids.root.next = &ids.root, &ids.root
	sums := store[total]{codec: totals, entries: map[string]*entry[total]{}}
	sums.root.prev, sums.root.next = &sums.root, &sums.root
	for name, err := range map[string]error{
		"ids":  ids.restore(raw(seenCodec.encode(new(chunk), seen{at: then.UnixMilli()}))),
		"sums": sums.restore(raw(totals.encode(nil, total{latest: then.UnixMilli(), data: []byte{}}))),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !ids.latest.Equal(then) || !sums.latest.Equal(then) {
		t.Errorf("of ids %v, of sums %v", ids.latest, sums.latest)
	}
	if err := sums.restore(raw([]byte("other"))); err == nil {
		t.Error("something else is an aggregate")
	}
}
