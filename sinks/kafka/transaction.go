package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// TransactionError is why a transaction was not committed, or is not known to be.
type TransactionError struct {
	// Class is Abortable or RecordFault if nothing of the transaction is or will be
	// visible: it may be run again, after a RecordFault not with the same records.
	// With Recoverable or Fatal the transaction was aborted as well, unless the error
	// is [ErrUnknownOutcome].
	Class Class
	Err   error
}

// Error says what failed.
func (e *TransactionError) Error() string { return fmt.Sprintf("transaction (%v): %v", e.Class, e.Err) }

// Unwrap returns the cause.
func (e *TransactionError) Unwrap() error { return e.Err }

// Transaction is a transaction that is open. Its methods may be called from several
// goroutines, until the function that it was given to returns.
type Transaction struct {
	p *Producer

	mu      sync.RWMutex // sends share it; offsets and the end hold it alone
	over    bool
	missing undelivered // records that were not taken: without them, no commit
}

// Send is [Producer.Send] within the transaction. A record that is not taken or not
// written fails the transaction, also if its error is overlooked. The outcome tells
// that it was acknowledged, not committed.
func (t *Transaction) Send(ctx context.Context, r Record, done Callback) error {
	return t.within(r.Topic, func() error { return t.p.send(ctx, r, done) })
}

func (t *Transaction) within(topic string, sending func() error) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.over {
		return newDeliveryError(topic, noPartition, ErrTransaction)
	}
	err := sending()
	if err != nil {
		t.missing.note(topic, noPartition, err)
	}
	return err
}

// SendSync is [Producer.SendSync] within the transaction.
func (t *Transaction) SendSync(ctx context.Context, r Record) (Result, error) {
	return await(ctx, func(done Callback) error { return t.Send(ctx, r, done) })
}

// SendMany is [Producer.SendMany] within the transaction.
func (t *Transaction) SendMany(ctx context.Context, records []Record) ([]Outcome, error) {
	return sendMany(ctx, len(records), func(i int, done Callback) error { return t.Send(ctx, records[i], done) })
}

// SendOffsets commits positions of a consumer group with the transaction: Next is the
// offset to go on from. The group's metadata should be those of the member at this
// moment (KIP-447), so that the broker refuses a member that has lost its partitions.
// Sends wait meanwhile. An error fails the transaction.
func (t *Transaction) SendOffsets(ctx context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return ErrTransaction
	}
	ctx, cancel := t.p.limited(ctx)
	defer cancel()
	err := t.p.inner.Load().SendOffsets(ctx, offsets, group)
	if err != nil {
		err = fmt.Errorf("send offsets of group %q: %w", group.Group, err)
	}
	return err
}

// end lets nothing more in.
func (t *Transaction) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// txnState is a transactional producer's.
type txnState struct {
	turn   chan struct{} // holds one token while a transaction runs
	broken bool          // only a new machine can go on
	fenced []time.Time   // when, within fencedWithin
}

func (t *txnState) init() { t.turn = make(chan struct{}, 1) }

// Two owners that fence each other would go on for ever.
const (
	maxFenced    = 5
	fencedWithin = 10 * time.Minute
)

// InTransaction runs f and commits what it has sent, all or nothing. The producer needs
// a TransactionalID. One transaction runs at a time; others wait for their turn. Readers
// that see only what is committed need isolation.level=read_committed.
//
//   - f returns an error: the transaction is aborted and that error returned. If f
//     panics, it is aborted, and the panic goes on.
//   - A record was not taken or not written, or ctx has ended: it is aborted, and the
//     error is a [*TransactionError] that says whether running f again makes sense. f
//     is never run again by itself.
//   - The outcome of the commit is not known, because no broker has answered: the error
//     is [ErrUnknownOutcome]. Do not run f again before you have looked whether its
//     records are there; positions that were sent along tell.
//   - Another producer has taken the TransactionalID: the error is [ErrFenced], and
//     nothing was committed.
//
// After the last two the next call begins with a new producer of the same
// TransactionalID, which ends what was open; after the sixth fencing within ten minutes
// no more. Without an error, the callbacks of the transaction have returned.
func (p *Producer) InTransaction(ctx context.Context, f func(*Transaction) error) (err error) {
	switch {
	case p.settings.TransactionalID == "":
		return fmt.Errorf("%w: the producer has no TransactionalID", ErrTransaction)
	case inCallback():
		return ErrInCallback
	}
	select {
	case p.txn.turn <- struct{}{}:
		defer func() { <-p.txn.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.closed.Load() {
		return ErrClosed
	}
	if err := p.renew(ctx); err != nil {
		return p.verdict(ctx, "new producer", err)
	}
	if err := p.begin(ctx); err != nil {
		return p.verdict(ctx, "begin", err)
	}
	defer func() { p.interceptors.transactionEnded(p.callbacks, transactionOutcome(err)) }()
	tx := &Transaction{p: p}
	returned := false
	err = ErrAborted // if f panics
	defer func() {
		if !returned { // a panic
			tx.end()
			_ = p.abort(ctx)
		}
	}()
	err = f(tx)
	returned = true
	if err == nil {
		err = p.commit(ctx, tx)
	} else {
		tx.end()
		if aerr := p.abort(ctx); aerr != nil && (refusal(err) == nil || refusal(err) != refusal(aerr)) {
			err = errors.Join(err, aerr)
		}
	}
	return err
}

// transactionOutcome is what interceptors are told of the error of InTransaction.
func transactionOutcome(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrAborted):
		return err
	}
	return fmt.Errorf("%w: %w", ErrAborted, err)
}

func (p *Producer) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.settings.Producer.TransactionTimeout)
}

func (p *Producer) begin(ctx context.Context) error {
	ctx, cancel := p.limited(ctx)
	defer cancel()
	return p.inner.Load().Begin(ctx)
}

// commit ends the transaction of a function that had no error.
func (p *Producer) commit(ctx context.Context, tx *Transaction) error {
	limited, cancel := p.limited(ctx)
	defer cancel()
	err := p.settle(limited) // callbacks may send
	tx.end()
	if err == nil {
		err = tx.missing.take()
	}
	if err != nil { // nobody has asked the broker to commit
		return p.aborted(ctx, err)
	}
	err = p.inner.Load().Commit(limited)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, send.ErrAbortable):
		return p.aborted(ctx, err)
	default:
		return p.verdict(ctx, "commit", err)
	}
}

// aborted aborts because of err.
func (p *Producer) aborted(ctx context.Context, err error) error {
	failed := p.undelivered.take()
	abort := p.abort(ctx)
	class := Abortable
	for _, c := range []Class{RecordFault, Recoverable, Fatal} { // the last one counts
		if hasClass(c, err, failed, abort) {
			class = c
		}
	}
	return &TransactionError{Class: class, Err: errors.Join(fmt.Errorf("%w: %w", ErrAborted, err), failed, abort)}
}

func hasClass(c Class, errs ...error) bool {
	for _, err := range errs {
		if err == nil {
			continue
		}
		if u, ok := errors.AsType[*UndeliveredError](err); ok {
			for _, e := range u.Errors {
				if e.Class == c {
					return true
				}
			}
		} else if ClassOf(err) == c {
			return true
		}
	}
	return false
}

// abort discards the transaction, also when ctx has ended. If that fails, nothing of it
// becomes visible either.
func (p *Producer) abort(ctx context.Context) error {
	limited, cancel := p.limited(context.WithoutCancel(ctx))
	defer cancel()
	err := p.inner.Load().Abort(limited)
	_ = p.undelivered.take() // what was aborted
	if err == nil {
		return nil
	}
	p.txn.broken = true
	if errors.Is(err, ErrFenced) {
		return p.wasFenced(err)
	}
	return fmt.Errorf("abort: %w", err)
}

// verdict is an error after which only a new machine can go on. It is made at once if
// ctx allows, since a transaction that is left open holds readers up.
func (p *Producer) verdict(ctx context.Context, op string, err error) error {
	p.txn.broken = true
	failed := p.undelivered.take()
	if errors.Is(err, ErrFenced) {
		err = p.wasFenced(err)
	} else if ctx.Err() == nil && errors.Is(err, ErrUnknownOutcome) {
		if next := p.renew(ctx); next != nil {
			err = errors.Join(err, next)
		}
	}
	class := ClassOf(err)
	if class != Fatal {
		class = Recoverable
	}
	return &TransactionError{Class: class, Err: errors.Join(fmt.Errorf("%s: %w", op, err), failed)}
}

func (p *Producer) wasFenced(err error) error {
	now := time.Now()
	recent := p.txn.fenced[:0]
	for _, at := range p.txn.fenced {
		if now.Sub(at) < fencedWithin {
			recent = append(recent, at)
		}
	}
	p.txn.fenced = append(recent, now)
	if len(p.txn.fenced) > maxFenced {
		return fmt.Errorf("%w: %w; %d times in %v: give each producer a TransactionalID of its own", send.ErrFatal, err, len(p.txn.fenced), fencedWithin)
	}
	return err
}

// renew replaces a machine that cannot go on. Its successor settles what it has left
// open.
func (p *Producer) renew(ctx context.Context) error {
	if !p.txn.broken {
		return nil
	}
	if len(p.txn.fenced) > maxFenced && time.Since(p.txn.fenced[0]) < fencedWithin {
		return fmt.Errorf("%w: %w too often", send.ErrFatal, ErrFenced)
	}
	old := p.inner.Load()
	if err := closeSoon(ctx, func(ctx context.Context) error { return old.Close(ctx, 0) }); err != nil {
		p.settings.Logger.Warn("producer does not close", "error", err)
	}
	if err := p.open(ctx); err != nil {
		return err
	}
	p.txn.broken = false
	_ = p.undelivered.take()
	return nil
}
