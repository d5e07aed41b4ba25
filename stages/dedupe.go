package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// DedupeConfig says what [Dedupe] remembers, and where.
type DedupeConfig struct {
	// Topic keeps the ids that were seen. It must exist, with cleanup.policy=compact and
	// at least as many partitions as the input, and be used by nothing else.
	Topic string
	// Window is how far apart the times of two records with one id may be for the second
	// to be dropped, by the records' timestamps. Default 1 h.
	Window time.Duration
	// MaxEntries bounds the ids that are remembered of one partition. The oldest are
	// forgotten first, before a commit. Default: no bound but MaxBytes.
	MaxEntries int
	// MaxBytes bounds them in bytes, with some 200 for each beside the id. Default 64 MiB.
	MaxBytes int64
}

const (
	defaultWindow     = time.Hour
	defaultStateBytes = 64 << 20
)

func (c DedupeConfig) withDefaults(opts []pipeline.StageOption) (DedupeConfig, []pipeline.StageOption) {
	if c.Window < 0 || c.MaxEntries < 0 || c.MaxBytes < 0 {
		err := fmt.Errorf("DedupeConfig: a window of %v, %d entries and %d bytes; use none below 0, and 0 for the default", c.Window, c.MaxEntries, c.MaxBytes)
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(err))
	}
	c.Window = cmp.Or(c.Window, defaultWindow)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultStateBytes)
	return c, opts
}

// errNoID is the error of a record whose id is empty: all of these would be copies of one.
var errNoID = errors.New("the record has an empty id")

// Dedupe drops each record whose id was seen before in its input partition, within
// cfg.Window by event time (the record's timestamp): the first one wins. Copies must come
// in the same partition, as they do when the producer's key decides; else bring them there
// with KeyBy and [pipeline.Through] first.
//
// Exactly once, what is remembered is in one transaction with the outputs and the positions:
// after an abort, a crash, or when the partition moves, it is what was committed, no more and
// no less. At least once no record is lost by it, and copies are dropped; after a failure
// what is processed again is put out again, as without it.
//
// Seen is what a record's whole chain has been through with success. A record that becomes a
// dead letter or is skipped, here, in a stage behind, or in another branch, was not: the next
// copy gets its chance. A copy that comes while the first one is still held by a stage
// behind (EnrichAsync, Parallel, Batch) waits for what comes of it, and goes on in its own
// place if it fails. A record that a stage behind drops on purpose, as Filter does, was seen.
//
// The times of copies are compared with that of the record that was let through; order does
// not matter. An id is forgotten when a record that was let through is later than it by more
// than Window, or when there are too many: so a copy that comes out of order, behind such a
// record, may pass. One with a time in the far future has the partition forget what was
// before. An empty id is the record's error.
//
// When the group's positions are set back, what is processed again is put out again: an
// id counts for the records behind the one it was seen in. When partitions are added to the
// input, keys move, and copies of what came before are not found.
//
// A new id costs a record in the topic and two allocations beside id's own; a copy costs a
// look-up in a map. When a partition is assigned, its part of the topic is
// read to the end before the first record.
func Dedupe[T any](s pipeline.Stream[T], name string, id func(T) string, cfg DedupeConfig, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return DedupeRecord(s, name, func(_ context.Context, r *pipeline.Record[T]) (string, error) { return id(r.Value), nil }, cfg, opts...)
}

// DedupeCtx is Dedupe for a function that waits for something or may fail.
func DedupeCtx[T any](s pipeline.Stream[T], name string, id func(context.Context, T) (string, error), cfg DedupeConfig, opts ...pipeline.StageOption) pipeline.Stream[T] {
	return DedupeRecord(s, name, func(ctx context.Context, r *pipeline.Record[T]) (string, error) { return id(ctx, r.Value) }, cfg, opts...)
}

// DedupeRecord is Dedupe by the whole record: the id may come from a header.
func DedupeRecord[T any](s pipeline.Stream[T], name string, id func(context.Context, *pipeline.Record[T]) (string, error), cfg DedupeConfig, opts ...pipeline.StageOption) pipeline.Stream[T] {
	cfg, opts = cfg.withDefaults(opts)
	return pipeline.ApplyState(s, "dedupe", name, cfg.Topic, func(sc *pipeline.StageContext, next pipeline.Next[T], changes pipeline.Next[[]byte]) pipeline.Next[T] {
		d := &deduper[T]{sc: sc, next: next, window: cfg.Window.Milliseconds()}
		d.seen = keep(sc, changes, seenCodec, bounds{cfg.MaxEntries, cfg.MaxBytes})
		d.seen.expired = func(v seen) bool { return v.at < d.seen.latest.UnixMilli()-d.window }
		idOf := pipeline.Guard(sc, id)
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			key, err := idOf(ctx, r)
			if err == nil && key == "" {
				err = sc.Fail(errNoID)
			}
			if err != nil {
				return err
			}
			return d.take(ctx, r, key)
		}
	}, opts...)
}

// deduper is the Dedupe of one partition.
type deduper[T any] struct {
	sc     *pipeline.StageContext
	next   pipeline.Next[T]
	window int64 // ms
	seen   *store[seen]
}

// seen is the record with an id that was let through.
type seen struct {
	offset   int64
	at       int64 // its timestamp, ms
	restored bool  // by another task, or in another run
}

func (d *deduper[T]) take(ctx context.Context, r *pipeline.Record[T], id string) error {
	this := d.sc.Current()
	first, found, tentative := d.seen.get(id)
	if found && d.covers(first, r, this) {
		d.sc.Drop()
		if !tentative || first.offset == this.Offset { // of one record's parts the first one wins
			return nil
		}
		at, again := this, *r
		at.Offset = first.offset
		return d.sc.Follow(at, func(ctx context.Context) error { return d.take(ctx, &again, id) })
	}
	if err := d.seen.change(ctx, id, seen{offset: this.Offset, at: r.Timestamp.UnixMilli()}, true, r.Timestamp); err != nil {
		return err
	}
	return d.next(ctx, r)
}

// covers reports whether a record is a copy of the one that was seen first. One that was
// seen in this place or behind it, before this task began, is no forerunner: its output may be
// missing (at least once), or the positions were set back.
func (d *deduper[T]) covers(first seen, r *pipeline.Record[T], this pipeline.Origin) bool {
	if first.restored && first.offset >= this.Offset {
		return false
	}
	apart := r.Timestamp.UnixMilli() - first.at
	return -d.window <= apart && apart <= d.window
}

// In the topic: a version, the offset and the time, so that a topic that replaces timestamps
// does no harm.
const seenVersion = 1

var seenCodec = codec[seen]{
	encode: func(mem *chunk, v seen) []byte {
		dst := mem.open()
		enc := append(dst, seenVersion)
		enc = binary.BigEndian.AppendUint64(enc, uint64(v.offset))
		return mem.close(dst, binary.BigEndian.AppendUint64(enc, uint64(v.at)))
	},
	decode: func(b []byte) (v seen, err error) {
		if len(b) != 17 || b[0] != seenVersion {
			return v, fmt.Errorf("%d bytes, no id that was seen", len(b))
		}
		return seen{int64(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:])), true}, nil
	},
	size: func(seen) int { return 0 },
	at:   func(v seen) time.Time { return time.UnixMilli(v.at) },
}
