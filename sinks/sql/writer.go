package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"runtime/debug"

	"github.com/leat-stream/leat/pipeline"
)

// Writer writes the records of one output of the pipeline. [Write] and [WriteBatch] make
// one.
type Writer struct {
	topic   string
	size    int // records of a call, at most
	write   func(ctx context.Context, tx *sql.Tx, outputs []pipeline.Output) error
	mistake error
}

// Write returns a writer that calls a function for each record of an output, decoded by
// serde, which should be the one that the output has. Order is kept among the records of one input partition.
//
// The function writes with tx alone, returns the error of every statement, and ends neither tx nor
// anything in it. It is called from one goroutine at a time, and again after a replay or a
// transaction that was rolled back. An error that is the record's own, such as a
// violated constraint, rolls the transaction back; when its input is replayed the record
// meets the policy of its output. The *Record must not be kept, what it refers to may be.
//
// Give it a statement prepared once with tx.StmtContext. A record costs the serde's work
// and a round trip for each statement; [WriteBatch] has fewer of these.
func Write[T any](topic string, serde pipeline.Serde[T], write func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[T]) error) Writer {
	w := Writer{topic: topic, size: 1, mistake: missing(serde == nil, write == nil)}
	if w.mistake != nil {
		return w
	}
	var r pipeline.Record[T]
	w.write = func(ctx context.Context, tx *sql.Tx, outputs []pipeline.Output) error {
		if err := decode(ctx, serde, &outputs[0], &r); err != nil {
			return err
		}
		return write(ctx, tx, &r)
	}
	return w
}

// WriteBatch is Write for functions that write up to size records at once. After an error
// that is not everyone's the records are written again one at a time, to find whose it is.
// The slice must not be kept.
func WriteBatch[T any](topic string, serde pipeline.Serde[T], size int, write func(ctx context.Context, tx *sql.Tx, records []pipeline.Record[T]) error) Writer {
	w := Writer{topic: topic, size: size, mistake: missing(serde == nil, write == nil)}
	if size < 1 {
		w.mistake = errors.Join(w.mistake, errors.New("the size must be positive"))
	}
	if w.mistake != nil {
		return w
	}
	var records []pipeline.Record[T]
	w.write = func(ctx context.Context, tx *sql.Tx, outputs []pipeline.Output) error {
		defer func() { clear(records) }()
		records = append(records[:0], make([]pipeline.Record[T], len(outputs))...)
		for i := range outputs {
			if err := decode(ctx, serde, &outputs[i], &records[i]); err != nil {
				return err
			}
		}
		return write(ctx, tx, records)
	}
	return w
}

func missing(serde, write bool) error {
	var errs []error
	if serde {
		errs = append(errs, errors.New("it has no serde"))
	}
	if write {
		errs = append(errs, errors.New("it has no function"))
	}
	return errors.Join(errs...)
}

func decode[T any](ctx context.Context, serde pipeline.Serde[T], o *pipeline.Output, r *pipeline.Record[T]) (err error) {
	*r = pipeline.Record[T]{Key: o.Key, Headers: o.Headers, Timestamp: o.Timestamp, Origin: o.Origin}
	if _, nullable := serde.(pipeline.Nullable); o.Value == nil && !nullable {
		return pipeline.ErrTombstone
	}
	r.Value, err = serde.Decode(ctx, pipeline.Slot{Topic: o.Topic, Headers: &r.Headers}, o.Value)
	return err
}

// call runs the user's code: a panic is an error.
func (w *Writer) call(ctx context.Context, tx *sql.Tx, outputs []pipeline.Output) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &pipeline.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return w.write(ctx, tx, outputs)
}
