package stages

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Windowed is an aggregate of the records of one key and one window of time.
type Windowed[A any] struct {
	// Start and End are those of the window, in UTC; what is at End is in the next one. Both
	// are zero if there is one window for all time.
	Start, End time.Time
	Value      A
}

var (
	// ErrLate is the error of a record whose window has closed.
	ErrLate = errors.New("the record is late: its window has closed")
	// ErrStateFull says that a stage may keep no more of one partition.
	ErrStateFull = errors.New("the state of the partition has reached its bound")

	errNoAggregateKey = errors.New("the record has no key to be aggregated by; set one with KeyBy")
)

// Aggregate folds the records of each key into one value for each window of time, and puts
// out the new value with each record that changes it, with the head of that record: add
// makes it of the value so far, at first A's zero value, and must not change what it is given.
// The last value that comes out for a window is its final one; a topic that is compacted
// by key and window ends up with it. To have fewer values in between, fold in advance with
// [BatchByKey], whose calls end at commits.
//
// Windows are by the records' timestamps, and time is the latest one that was aggregated in
// the partition. A record all of whose windows have closed by then fails with [ErrLate], and the
// stage's policy decides: nothing is dropped in silence. A timestamp in the far future closes
// all windows before it; put a Check before the stage if producers may send such.
//
// The values are kept as values encodes them, in a topic that is in one transaction with the
// outputs and the positions: after an abort, a crash, or when the partition moves, they are
// those that were committed, and each record is in them once. At least once, what is processed
// again is added again. For a serde that derives a registry subject from the topic, that is
// cfg.Topic. A value that it encodes as null (serde.Nullable) is put out and forgotten.
//
// A record that fails, here, in a stage behind, or in another branch, has added nothing. While a
// stage behind holds records (EnrichAsync, Parallel, Batch), those that were added to one value
// are one: if one of them fails there, so do those behind it. To avoid that, put
// [pipeline.Through] before the stage that holds. A record without a key is an error.
//
// When partitions are added to the input, keys move, and begin anew.
//
// A record costs one in the topic for each of its windows, an encoding, a decoding, and two
// allocations beside theirs and add's; a new key or window some more.
func Aggregate[T, A any](s pipeline.Stream[T], name string, values pipeline.Serde[A], add func(A, T) (A, error), cfg AggregateConfig, opts ...pipeline.StageOption) pipeline.Stream[Windowed[A]] {
	return AggregateRecord(s, name, values, func(_ context.Context, w Windowed[A], r *pipeline.Record[T]) (A, error) { return add(w.Value, r.Value) }, cfg, opts...)
}

// AggregateCtx is Aggregate for a function that waits for something.
func AggregateCtx[T, A any](s pipeline.Stream[T], name string, values pipeline.Serde[A], add func(context.Context, A, T) (A, error), cfg AggregateConfig, opts ...pipeline.StageOption) pipeline.Stream[Windowed[A]] {
	return AggregateRecord(s, name, values, func(ctx context.Context, w Windowed[A], r *pipeline.Record[T]) (A, error) {
		return add(ctx, w.Value, r.Value)
	}, cfg, opts...)
}

// AggregateRecord is Aggregate with the window and the whole record.
func AggregateRecord[T, A any](s pipeline.Stream[T], name string, values pipeline.Serde[A], add func(context.Context, Windowed[A], *pipeline.Record[T]) (A, error), cfg AggregateConfig, opts ...pipeline.StageOption) pipeline.Stream[Windowed[A]] {
	cfg, opts = cfg.withDefaults(opts)
	if values == nil {
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(errors.New("an aggregate needs a serde for its values")))
	}
	return pipeline.ApplyState(s, "aggregate", name, cfg.Topic, func(sc *pipeline.StageContext, next pipeline.Next[Windowed[A]], changes pipeline.Next[[]byte]) pipeline.Next[T] {
		a := &aggregator[T, A]{sc: sc, next: next, cfg: cfg, values: values, buf: make([]byte, 0, stateBuffer)}
		a.kept = keep(sc, changes, totals, bounds{bytes: math.MaxInt64}) // what is open must not be forgotten
		if cfg.Window > 0 {
			a.kept.expired = func(v total) bool { return a.closed(v.start) }
		}
		a.fold = pipeline.Guard(sc, func(ctx context.Context, f folded[T, A]) (folded[T, A], error) { return a.added(ctx, f, add) })
		return a.take
	}, opts...)
}

// aggregator is the Aggregate of one partition.
type aggregator[T, A any] struct {
	sc     *pipeline.StageContext
	next   pipeline.Next[Windowed[A]]
	cfg    AggregateConfig
	values pipeline.Serde[A]
	kept   *store[total]

	fold    func(context.Context, folded[T, A]) (folded[T, A], error)
	key     []byte           // of the state topic, for look-ups
	buf     []byte           // to encode into
	headers pipeline.Headers // that a serde must not write
	out     pipeline.Record[Windowed[A]]
}

// total is the aggregate of a key and a window, as it is kept.
type total struct {
	start   int64  // of the window, ms
	latest  int64  // of its records, ms
	data    []byte // as the serde has encoded it
	current int64  // the offset of the input record that was the last to change it
}

// folded is what a call of the user's function is about.
type folded[T, A any] struct {
	record *pipeline.Record[T]
	window Windowed[A]
	before []byte // the encoded value so far, or nil
	after  []byte // the encoded value with the record, or nil if it is null
}

func (a *aggregator[T, A]) take(ctx context.Context, r *pipeline.Record[T]) error {
	a.sc.Enter()
	if r.Key == nil {
		return a.sc.Fail(errNoAggregateKey)
	}
	if a.cfg.Window == 0 {
		return a.add(ctx, r, 0)
	}
	at := r.Timestamp.UnixMilli()
	every := a.cfg.Every.Milliseconds()
	last := at - floorMod(at, every)
	first := last - (a.cfg.Window.Milliseconds()-1-floorMod(at, every))/every*every
	late := true
	for start := first; start <= last; start += every {
		if a.closed(start) {
			continue
		}
		late = false
		if err := a.add(ctx, r, start); err != nil {
			return err
		}
	}
	if late {
		return a.sc.Failf("%w at %v, %v of grace included, and a record of %v has come", ErrLate,
			time.UnixMilli(a.closes(last)).UTC(), a.cfg.Grace, a.kept.latest.UTC())
	}
	return nil
}

// floorMod is how far a time is behind the last multiple of every, also before 1970.
func floorMod(at, every int64) int64 { return ((at % every) + every) % every }

func (a *aggregator[T, A]) closes(start int64) int64 {
	return start + a.cfg.Window.Milliseconds() + a.cfg.Grace.Milliseconds()
}

// closed reports whether a window takes no more records.
func (a *aggregator[T, A]) closed(start int64) bool {
	return !a.kept.latest.IsZero() && a.kept.latest.UnixMilli() >= a.closes(start)
}

// add adds a record to its key's value in one window.
func (a *aggregator[T, A]) add(ctx context.Context, r *pipeline.Record[T], start int64) error {
	this := a.sc.Current()
	key := stringOf(a.keyOf(r.Key, start))
	before, found, tentative := a.kept.get(key)
	if tentative {
		other := this
		other.Offset = before.current
		if err := a.sc.Unite(other); err != nil {
			return err
		}
	}
	f := folded[T, A]{record: r, before: before.data}
	if a.cfg.Window > 0 {
		f.window.Start, f.window.End = time.UnixMilli(start).UTC(), time.UnixMilli(start+a.cfg.Window.Milliseconds()).UTC()
	}
	f, err := a.fold(ctx, f)
	if err != nil {
		return err
	}
	if grows := !found && f.after != nil || len(f.after) > len(before.data); grows && a.kept.bytes >= a.cfg.MaxBytes {
		return a.sc.Fail(pipeline.Fatal(fmt.Errorf("%w: %d bytes of %d keys and windows; raise MaxBytes, or use shorter windows or less Grace", ErrStateFull, a.kept.bytes, a.kept.len)))
	}
	now := total{start: start, latest: r.Timestamp.UnixMilli(), data: f.after, current: this.Offset}
	if found {
		now.latest = max(now.latest, before.latest)
	}
	if err := a.kept.change(ctx, key, now, f.after != nil, r.Timestamp); err != nil {
		return err
	}
	copyHead(&a.out, r)
	a.out.Value = f.window
	return a.next(ctx, &a.out)
}

// keyOf is the key of a window in the state topic, until the next call.
func (a *aggregator[T, A]) keyOf(key []byte, start int64) []byte {
	a.key = append(binary.BigEndian.AppendUint64(a.key[:0], uint64(start)), key...)
	return a.key
}

// added calls the user's function, and encodes what it returns.
func (a *aggregator[T, A]) added(ctx context.Context, f folded[T, A], add func(context.Context, Windowed[A], *pipeline.Record[T]) (A, error)) (folded[T, A], error) {
	a.headers = a.headers[:0]
	at := pipeline.Slot{Topic: a.cfg.Topic, Headers: &a.headers}
	var err error
	if f.before != nil {
		if f.window.Value, err = a.values.Decode(ctx, at, f.before); err != nil {
			return f, err
		}
	}
	if f.window.Value, err = add(ctx, f.window, f.record); err != nil {
		return f, err
	}
	data, err := a.values.Append(ctx, a.buf, at, f.window.Value)
	if err == nil && len(a.headers) > 0 {
		err = pipeline.Fatal(errHeaders)
	}
	f.after = bytes.Clone(data) // what is kept has no room behind it
	return f, err
}

// In the topic: a version, the latest time and the value. The start is in the key, and here
// again, since a codec does not see it.
const (
	totalVersion = 1
	totalHead    = 17
)

var totals = codec[total]{
	encode: func(_ *chunk, v total) []byte {
		enc := make([]byte, 0, totalHead+len(v.data))
		enc = append(enc, totalVersion)
		enc = binary.BigEndian.AppendUint64(enc, uint64(v.start))
		enc = binary.BigEndian.AppendUint64(enc, uint64(v.latest))
		return append(enc, v.data...)
	},
	decode: func(b []byte) (v total, err error) {
		if len(b) < totalHead || b[0] != totalVersion {
			return v, fmt.Errorf("%d bytes, no aggregate", len(b))
		}
		return total{
			start:  int64(binary.BigEndian.Uint64(b[1:])),
			latest: int64(binary.BigEndian.Uint64(b[9:])),
			data:   append([]byte{}, b[totalHead:]...), // not all that was fetched with it; empty is no null
		}, nil
	},
	size: func(v total) int { return len(v.data) },
	at:   func(v total) time.Time { return time.UnixMilli(v.latest) },
}
