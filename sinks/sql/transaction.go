package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// transaction is one of the database. It is begun when outputs are written that do not
// fit in memory any more, or at the commit.
type transaction struct {
	tx     *sql.Tx
	ctx    context.Context // its own: what ends it rolls it back
	cancel context.CancelCauseFunc

	timeout time.Duration
	late    *time.Timer // ends it, while a piece of its work runs
}

// transaction returns the open one, begun if need be.
func (s *Sink) transaction(ctx context.Context) (*transaction, error) {
	if s.tx != nil {
		return s.tx, nil
	}
	t := &transaction{timeout: s.cfg.Timeout}
	t.ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.late = time.AfterFunc(t.timeout, func() { t.cancel(fmt.Errorf("%w within %v", errNoAnswer, t.timeout)) })
	defer t.follow(ctx)()
	err := t.within(func() (err error) {
		t.tx, err = s.cfg.DB.BeginTx(t.ctx, nil)
		return err
	})
	if err != nil {
		t.cancel(nil)
		return nil, err
	}
	s.tx = t
	return t, nil
}

var errNoAnswer = errors.New("the database has not answered")

// follow ends the transaction when ctx ends, until the returned function is called.
func (t *transaction) follow(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { t.cancel(context.Cause(ctx)) })
}

// within runs a piece of the transaction's work and ends the transaction if that takes
// longer than Timeout. What counts is the piece, not the whole: how much is in a transaction
// depends on how fast the database is.
func (t *transaction) within(piece func() error) error {
	t.late.Reset(t.timeout)
	err := piece()
	t.late.Stop()
	switch {
	case err != nil && t.ctx.Err() != nil:
		return pipeline.Retriable(fmt.Errorf("%w: %w", context.Cause(t.ctx), err))
	case errors.Is(err, sql.ErrTxDone): // and it is not this sink that has ended it
		return pipeline.Fatal(fmt.Errorf("%w: %w", ErrEnded, err))
	}
	return err
}

func (t *transaction) exec(statement string) error {
	return t.within(func() error {
		_, err := t.tx.ExecContext(t.ctx, statement)
		return err
	})
}

// rollBack ends the open transaction, if there is one, and drops what waits.
func (s *Sink) rollBack() {
	s.drop()
	if s.tx == nil {
		return
	}
	t := s.tx
	s.tx = nil
	_ = t.within(t.tx.Rollback) // an error is of the connection, which is dropped: it is rolled back there, too
	t.cancel(nil)
}

// writeOut writes what waits into the transaction. After an error that is rolled back.
func (s *Sink) writeOut(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.rollBack()
		}
	}()
	t, err := s.transaction(ctx)
	if err != nil {
		return s.beforeCommit("begin", err)
	}
	defer t.follow(ctx)()
	careful := s.careful
	var refused *pipeline.SinkError
	for i := range s.cfg.Writers {
		w := &s.cfg.Writers[i]
		size := w.size
		if careful {
			size = 1
		}
		for outputs := range slices.Chunk(s.waiting[w.topic], size) {
			err := s.write(t, w, outputs, careful)
			se, ok := err.(*pipeline.SinkError)
			switch {
			case err == nil:
			case !careful || !ok || len(se.Rejected) == 0:
				return err
			case refused == nil:
				refused = se
			default:
				refused.Rejected = append(refused.Rejected, se.Rejected...)
			}
		}
		clear(s.waiting[w.topic])
		s.waiting[w.topic] = s.waiting[w.topic][:0]
	}
	s.waits = 0
	if refused != nil {
		return refused
	}
	return nil
}

// write calls a writer. One that is careful has a savepoint to go back to, so that one
// abort finds all records that are refused.
func (s *Sink) write(t *transaction, w *Writer, outputs []pipeline.Output, careful bool) error {
	if careful {
		if err := t.exec("SAVEPOINT leat_record"); err != nil {
			return s.beforeCommit("savepoint", err)
		}
	}
	err := t.within(func() error { return w.call(t.ctx, t.tx, outputs) })
	end := "RELEASE SAVEPOINT leat_record"
	if err != nil {
		err = s.failed(w, outputs, err)
		end = "ROLLBACK TO SAVEPOINT leat_record"
	}
	if !careful {
		return err
	}
	if failed := t.exec(end); failed != nil {
		return s.beforeCommit("savepoint", errors.Join(failed, err))
	}
	return err
}

// commit writes what waits, the positions, and commits.
func (s *Sink) commit(ctx context.Context) error {
	if err := s.writeOut(ctx); err != nil {
		return err
	}
	t := s.tx
	defer t.follow(ctx)()
	if err := t.within(func() error { return s.advance(t.ctx, t.tx) }); err != nil {
		s.rollBack()
		return s.beforeCommit("offsets", err)
	}
	err := t.within(t.tx.Commit)
	s.tx = nil
	t.cancel(nil)
	if pipeline.IsFatal(err) {
		return err
	}
	if err != nil {
		if err = s.settle(ctx, s.cfg.Dialect.Classify(err)); err != nil {
			return err
		}
	}
	s.advanced()
	s.careful, s.refusals = false, 0
	return nil
}

// beforeCommit is an error of the database itself, before anything was committed.
func (s *Sink) beforeCommit(op string, err error) error {
	if errors.Is(err, ErrFenced) {
		return open(op, err)
	}
	return s.refused(op, s.cfg.Dialect.Classify(err))
}

// maxRefusals is how often in a row the database may refuse what is the sink's own, and not
// for a reason that passes.
const maxRefusals = 3

// refused is an error after which nothing is committed, and which no record is to blame for.
// If it is not one that passes, the same would come again: a constraint that is deferred to the
// COMMIT, a table that is gone.
func (s *Sink) refused(op string, err error) error {
	if s.refusals++; pipeline.IsRetriable(err) {
		s.refusals = 0
	}
	if s.refusals >= maxRefusals || pipeline.IsFatal(err) {
		return pipeline.Fatal(&pipeline.SinkError{Op: op, Err: fmt.Errorf("the database refuses the sink's own statements; a write function must return every error, and no constraint may be deferred to the COMMIT: %w", err)})
	}
	return definite(op, err)
}
