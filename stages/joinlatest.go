package stages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// JoinConfig says where [JoinLatest] keeps the latest values, and how many.
type JoinConfig struct {
	// Topic keeps them. It must exist, with cleanup.policy=compact and at least as many
	// partitions as the input, and be used by nothing else.
	Topic string
	// MaxBytes bounds the keys and values of one partition, with some 200 bytes for each.
	// Beyond it those that were not updated for the longest time are forgotten, before a
	// commit. Default 64 MiB.
	MaxBytes int64
}

func (c JoinConfig) withDefaults(opts []pipeline.StageOption) (JoinConfig, []pipeline.StageOption) {
	if c.MaxBytes < 0 {
		err := fmt.Errorf("JoinConfig: %d bytes; use none below 0, and 0 for the default", c.MaxBytes)
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(err))
	}
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultStateBytes)
	return c, opts
}

var (
	errNoJoinKey = errors.New("the record has no key to be joined by; set one with KeyBy")
	errHeaders   = errors.New("a serde that writes headers cannot be used for state; use one that puts its schema's id before the value")
)

// JoinLatest joins two streams of one input by the records' keys: of each side it keeps the
// latest value of each key, and each update of either side puts out what join makes of the
// two, as soon as both are there, with the head of the record that was the update. Latest is
// in the order of the partition, not of time. A value that its serde encodes as null
// (serde.Nullable) deletes, and puts out nothing.
//
// Both streams must come from one input, in which a key has one partition. Streams of two
// topics are brought together first: map both to one type, [pipeline.Through] a topic, and split them
// again. For a small table that each worker may have all of, see [Enrich].
//
// The values are kept as lefts and rights encode them, in a topic that is in one transaction
// with the outputs and the positions: after an abort, a crash, or when the partition moves,
// they are those that were committed. At least once they may be newer. For a serde that derives a
// registry subject from the topic, that is cfg.Topic with -left or -right behind it.
//
// A record that fails, here, in a stage behind, or in another branch, has updated nothing. What other
// records were joined with it while a stage behind held it (EnrichAsync, Parallel, Batch) stays.
// A record without a key is an error.
//
// An update costs a record in the topic, an encoding, the other side's decoding, and one
// allocation beside theirs and join's; a new key some more.
func JoinLatest[L, R, Out any](left pipeline.Stream[L], right pipeline.Stream[R], name string, lefts pipeline.Serde[L], rights pipeline.Serde[R], join func(L, R) (Out, error), cfg JoinConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return joined(left, right, name, lefts, rights, func(_ context.Context, p pair[L, R]) (Out, error) { return join(p.left, p.right) }, false, cfg, opts)
}

// JoinLatestOptional is JoinLatest for what may be missing on the right, a left join: join is
// told whether a right value was found, and R is its zero value if it was not. Deleting the
// right value puts out the left one without it.
func JoinLatestOptional[L, R, Out any](left pipeline.Stream[L], right pipeline.Stream[R], name string, lefts pipeline.Serde[L], rights pipeline.Serde[R], join func(left L, right R, found bool) (Out, error), cfg JoinConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return joined(left, right, name, lefts, rights, func(_ context.Context, p pair[L, R]) (Out, error) { return join(p.left, p.right, p.found) }, true, cfg, opts)
}

// pair is what is joined; found says that there is a right.
type pair[L, R any] struct {
	left  L
	right R
	found bool
}

// sided is a value of one of the sides.
type sided[L, R any] struct {
	left    L
	right   R
	isRight bool
}

// stateBuffer is room for most values of a state.
const stateBuffer = 1 << 10

// The first byte of a key of the state topic.
const (
	leftSide  = 'l'
	rightSide = 'r'
)

func joined[L, R, Out any](left pipeline.Stream[L], right pipeline.Stream[R], name string, lefts pipeline.Serde[L], rights pipeline.Serde[R], join func(context.Context, pair[L, R]) (Out, error), optional bool, cfg JoinConfig, opts []pipeline.StageOption) pipeline.Stream[Out] {
	cfg, opts = cfg.withDefaults(opts)
	if lefts == nil || rights == nil {
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(errors.New("a join needs a serde for each side")))
	}
	both := Merge(name+" (both)",
		side(left, name+" (left)", func(v L) sided[L, R] { return sided[L, R]{left: v} }),
		side(right, name+" (right)", func(v R) sided[L, R] { return sided[L, R]{right: v, isRight: true} }))
	return pipeline.ApplyState(both, "join", name, cfg.Topic, func(sc *pipeline.StageContext, next pipeline.Next[Out], changes pipeline.Next[[]byte]) pipeline.Next[sided[L, R]] {
		j := &joiner[L, R, Out]{
			sc: sc, next: next, leftTopic: cfg.Topic + "-left", rightTopic: cfg.Topic + "-right", lefts: lefts, rights: rights, optional: optional,
			latest: keep(sc, changes, asEncoded, bounds{bytes: cfg.MaxBytes}), join: pipeline.Guard(sc, join), buf: make([]byte, 0, stateBuffer),
		}
		j.prepare = pipeline.Guard(sc, j.encode)
		j.other = pipeline.Guard(sc, j.decode)
		return j.take
	}, opts...)
}

// side makes a stream one side of a join.
func side[T, L, R any](s pipeline.Stream[T], name string, of func(T) sided[L, R]) pipeline.Stream[sided[L, R]] {
	return pipeline.Apply(s, "side", name, func(sc *pipeline.StageContext, next pipeline.Next[sided[L, R]]) pipeline.Next[T] {
		scratch := new(pipeline.Record[sided[L, R]])
		return func(ctx context.Context, r *pipeline.Record[T]) error {
			sc.Enter()
			copyHead(scratch, r)
			scratch.Value = of(r.Value)
			return next(ctx, scratch)
		}
	}, pipeline.OneToOne())
}

// asEncoded keeps values as their serde has encoded them.
var asEncoded = codec[[]byte]{
	encode: func(_ *chunk, v []byte) []byte { return v },
	decode: func(b []byte) ([]byte, error) { return bytes.Clone(b), nil }, // not all that was fetched with it
	size:   func(v []byte) int { return len(v) },
}

// joiner is the join of one partition.
type joiner[L, R, Out any] struct {
	sc       *pipeline.StageContext
	next     pipeline.Next[Out]
	lefts    pipeline.Serde[L]
	rights   pipeline.Serde[R]
	optional bool
	latest   *store[[]byte]

	join    func(context.Context, pair[L, R]) (Out, error)
	prepare func(context.Context, sided[L, R]) ([]byte, error)
	other   func(context.Context, encoded) (sided[L, R], error)
	key     []byte           // of the state topic, for look-ups
	buf     []byte           // to encode into
	headers pipeline.Headers // that a serde must not write
	// what serdes take for the topics
	leftTopic, rightTopic string
	out                   pipeline.Record[Out]
}

// encoded is the value of a side in the state.
type encoded struct {
	data    []byte
	isRight bool
}

func (j *joiner[L, R, Out]) take(ctx context.Context, r *pipeline.Record[sided[L, R]]) error {
	j.sc.Enter()
	if r.Key == nil {
		return j.sc.Fail(errNoJoinKey)
	}
	this := r.Value
	data, err := j.prepare(ctx, this)
	if err != nil {
		return err
	}
	if err := j.latest.change(ctx, j.keyOf(r.Key, this.isRight), data, data != nil, r.Timestamp); err != nil {
		return err
	}
	data2, found, _ := j.latest.get(j.keyOf(r.Key, !this.isRight))
	both := pair[L, R]{left: this.left, right: this.right, found: this.isRight && data != nil}
	switch {
	case this.isRight && !found, !this.isRight && data == nil, !j.optional && (data == nil || !found):
		j.sc.Drop() // there is nothing to join
		return nil
	case found:
		o, err := j.other(ctx, encoded{data2, !this.isRight})
		if err != nil {
			return err
		}
		if this.isRight {
			both.left = o.left
		} else {
			both.right, both.found = o.right, true
		}
	}
	if !both.found {
		var none R
		both.right = none
	}
	v, err := j.join(ctx, both)
	if err != nil {
		return err
	}
	copyHead(&j.out, r)
	j.out.Value = v
	return j.next(ctx, &j.out)
}

// keyOf is the key of a side in the state topic, until the next call.
func (j *joiner[L, R, Out]) keyOf(key []byte, isRight bool) string {
	s := byte(leftSide)
	if isRight {
		s = rightSide
	}
	j.key = append(append(j.key[:0], s), key...)
	return stringOf(j.key)
}

func (j *joiner[L, R, Out]) slot(isRight bool) pipeline.Slot {
	j.headers = j.headers[:0]
	if isRight {
		return pipeline.Slot{Topic: j.rightTopic, Headers: &j.headers}
	}
	return pipeline.Slot{Topic: j.leftTopic, Headers: &j.headers}
}

// encode returns a value as it is kept, or nil if it deletes.
func (j *joiner[L, R, Out]) encode(ctx context.Context, v sided[L, R]) (data []byte, err error) {
	at := j.slot(v.isRight)
	if v.isRight {
		data, err = j.rights.Append(ctx, j.buf, at, v.right)
	} else {
		data, err = j.lefts.Append(ctx, j.buf, at, v.left)
	}
	if err == nil && len(j.headers) > 0 {
		err = pipeline.Fatal(errHeaders)
	}
	return bytes.Clone(data), err // what is kept has no room behind it
}

func (j *joiner[L, R, Out]) decode(ctx context.Context, e encoded) (v sided[L, R], err error) {
	v.isRight = e.isRight
	at := j.slot(e.isRight)
	if e.isRight {
		v.right, err = j.rights.Decode(ctx, at, e.data)
	} else {
		v.left, err = j.lefts.Decode(ctx, at, e.data)
	}
	return v, err
}
