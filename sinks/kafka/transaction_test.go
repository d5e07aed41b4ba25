package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// committed is a cluster with the topic out, of which tests read what is committed.
func committed(t testing.TB) *cluster {
	t.Helper()
	return start(t, embedded.Config{Topics: []embedded.Topic{topic("out", 2), topic("in", 1)}}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
}

func TestTransactionCommits(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	customers := kafka.For(p, "out", serde.JSON[customer]())
	told := 0
	for round := range 3 {
		noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
			for i := range 10 {
				if err := tx.Send(t.Context(), record(fmt.Sprint(round), fmt.Sprint(i)), func(kafka.Result, error) { told++ }); err != nil {
					return err
				}
			}
			if r, err := tx.SendSync(t.Context(), record("sync", "1")); err != nil || r.Offset < 0 {
				t.Errorf("%+v, %v", r, err)
			}
			if _, err := customers.In(tx).SendMany(t.Context(), []customer{{"a", 1}}); err != nil {
				return err
			}
			return tx.SendOffsets(t.Context(), []pipeline.Offset{{Partition: pipeline.Partition{Topic: "in"}, Next: int64(round + 5)}}, pipeline.GroupMetadata{Group: "g", Generation: -1})
		}), "transaction")
		if told != 10*(round+1) { // callbacks have returned
			t.Errorf("%d callbacks", told)
		}
		if got := len(c.ReadAll("out")); got != 12*(round+1) {
			t.Errorf("%d records after transaction %d", got, round)
		}
		if got := c.positions("g", "in"); got != int64(round+5) {
			t.Errorf("position %d", got)
		}
	}
}

var errChanged = errors.New("changed my mind")

// An error of the function, and a panic in it, abort.
func TestTransactionAborts(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	var kept *kafka.Transaction
	err := p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
		kept = tx
		noError(t, tx.Send(t.Context(), record("a", "1"), nil), "send")
		return errChanged
	})
	if err != errChanged {
		t.Errorf("error %v, want the function's own", err)
	}
	wantError(t, kept.Send(t.Context(), record("late", "1"), nil), kafka.ErrTransaction)
	func() {
		defer func() {
			if v := recover(); v != "oh" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
			noError(t, tx.Send(t.Context(), record("b", "1"), nil), "send")
			panic("oh")
		})
	}()
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("c", "1"), nil) }), "transaction")
	noError(t, p.InTransaction(t.Context(), func(*kafka.Transaction) error { return nil }), "an empty transaction")
	same(t, "out", keys(c.ReadAll("out")), []string{"c"})
}

// A record that is missing fails the transaction, also if nobody looks at its error.
func TestTransactionsAreWhole(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bad   kafka.Record
		class kafka.Class
		kind  error
	}{
		"not taken": {kafka.Record{Topic: "out", Partitioner: kafka.ToPartition(9)}, kafka.RecordFault, kafka.ErrPartition},
		"refused":   {kafka.Record{Topic: "small", Value: incompressible(8000)}, kafka.RecordFault, pipeline.ErrTooLarge},
		"no topic":  {kafka.Record{Topic: "none"}, kafka.Fatal, pipeline.ErrMissingTopic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, embedded.Config{Topics: []embedded.Topic{
				topic("out", 2), {Name: "small", Partitions: 1, Config: map[string]string{"max.message.bytes": "4000"}},
			}}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
			err := p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
				noError(t, tx.Send(t.Context(), record("a", "1"), nil), "send")
				_ = tx.Send(t.Context(), tt.bad, nil)
				return nil
			})
			wantError(t, err, tt.kind)
			if !errors.Is(err, kafka.ErrAborted) || kafka.ClassOf(err) != tt.class {
				t.Errorf("class %v of %v", kafka.ClassOf(err), err)
			}
			noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("b", "1"), nil) }), "the next")
			same(t, "out", keys(c.ReadAll("out")), []string{"b"})
		})
	}
}

// The commit was sent and nobody answers: it may have happened. The next producer of
// the same id settles it.
func TestTransactionOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	ends := 0
	c.fake.Fake().ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		if ctx.Err() != nil {
			return nil, nil, false
		}
		if ends++; ends == 2 { // the caller loses patience
			cancel()
		}
		return nil, errors.New("cut"), true
	})
	err := p.InTransaction(ctx, func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("a", "1"), nil) })
	wantError(t, err, kafka.ErrUnknownOutcome)
	if kafka.ClassOf(err) != kafka.Recoverable {
		t.Errorf("class %v", kafka.ClassOf(err))
	}
	before := p.Metrics()
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("b", "1"), nil) }), "the next")
	if got := keys(c.ReadAll("out")); len(got) == 0 || got[len(got)-1] != "b" {
		t.Errorf("out: %v", got)
	}
	if m := p.Metrics(); m.RecordsAcked != before.RecordsAcked+1 || before.RecordsAcked != 1 {
		t.Errorf("the counters were lost: %d, then %d", before.RecordsAcked, m.RecordsAcked)
	}
}

// Two owners of one id fence each other: each transaction is whole or not there, and
// it ends with an error rather than never.
func TestTransactionFenced(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	q := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	send := func(p *kafka.Producer, key string) error {
		return p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
			return errors.Join(tx.Send(t.Context(), record(key, "1"), nil), tx.Send(t.Context(), record(key, "2"), nil))
		})
	}
	var err error
	written := map[string]int{}
	for i := range 20 {
		for name, x := range map[string]*kafka.Producer{"p": p, "q": q} {
			key := fmt.Sprint(name, i)
			if e := send(x, key); e != nil {
				err = e
				wantError(t, e, kafka.ErrFenced)
			} else {
				written[key] = 2
			}
		}
		if kafka.ClassOf(err) == kafka.Fatal && err != nil {
			break
		}
	}
	if err == nil || kafka.ClassOf(err) != kafka.Fatal {
		t.Errorf("at last: %v", err)
	}
	got := map[string]int{}
	for _, k := range keys(c.ReadAll("out")) {
		got[k]++
	}
	if fmt.Sprint(got) != fmt.Sprint(written) {
		t.Errorf("written %v, want %v", got, written)
	}
}

// Close comes while a new machine is being made: that one is not left behind.
func TestCloseWhileBeginningAnew(t *testing.T) {
	checktest.NoLeaks(t, "leat-stream/leat/sinks/kafka.", "leat-stream/leat/internal/send.")
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	c.producer(kafka.ProducerSettings{TransactionalID: "id"}) // fences p
	send := func() error {
		return p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("a", "1"), nil) })
	}
	wantError(t, send(), kafka.ErrFenced)
	reached, release := make(chan struct{}), make(chan struct{})
	c.fake.Fake().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(reached)
		c.fake.Fake().SleepControl(func() { <-release })
		return nil, nil, false
	})
	result := make(chan error, 1)
	go func() { result <- send() }()
	<-reached
	noError(t, p.Close(t.Context()), "close")
	close(release)
	wantError(t, <-result, kafka.ErrClosed)
}

// The context ends during a transaction: it is aborted.
func TestTransactionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	ctx, cancel := context.WithCancel(t.Context())
	err := p.InTransaction(ctx, func(tx *kafka.Transaction) error {
		defer cancel()
		return tx.Send(ctx, record("a", "1"), nil)
	})
	wantError(t, err, kafka.ErrAborted)
	if kafka.ClassOf(err) != kafka.Abortable || !errors.Is(err, context.Canceled) {
		t.Errorf("class %v of %v", kafka.ClassOf(err), err)
	}
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("b", "1"), nil) }), "the next")
	same(t, "out", keys(c.ReadAll("out")), []string{"b"})
}

// A refusal of the broker's, which no retry mends, aborts.
func TestTransactionRefused(t *testing.T) {
	t.Parallel()
	c := committed(t)
	refusals := 1
	c.refuse(kerr.InvalidRecord, func() bool { refusals--; return refusals >= 0 })
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	err := p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("a", "1"), nil) })
	wantError(t, err, kafka.ErrAborted)
	if e, ok := errors.AsType[*kafka.DeliveryError](err); !ok || e.Code() != kerr.InvalidRecord.Code {
		t.Errorf("error %v", err)
	}
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), record("b", "1"), nil) }), "the next")
	same(t, "out", keys(c.ReadAll("out")), []string{"b"})
}

// A callback may send within the transaction, and what it sends is part of it.
func TestTransactionWaitsForItsCallbacks(t *testing.T) {
	t.Parallel()
	c := committed(t)
	p := c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
		return tx.Send(t.Context(), record("a", "1"), func(kafka.Result, error) {
			if err := tx.Send(t.Context(), record("b", "2"), nil); err != nil {
				t.Error(err)
			}
			if err := p.InTransaction(t.Context(), nil); !errors.Is(err, kafka.ErrInCallback) {
				t.Errorf("a transaction in a callback: %v", err)
			}
		})
	}), "transaction")
	if got := len(c.ReadAll("out")); got != 2 {
		t.Errorf("%d records", got)
	}
}

func TestTransactionalIDDecides(t *testing.T) {
	t.Parallel()
	c := committed(t)
	plain, txn := c.producer(kafka.ProducerSettings{}), c.producer(kafka.ProducerSettings{TransactionalID: "id"})
	wantError(t, plain.InTransaction(t.Context(), func(*kafka.Transaction) error { return nil }), kafka.ErrTransaction, "no TransactionalID")
	wantError(t, txn.Send(t.Context(), record("a", "1"), nil), kafka.ErrTransaction)
	wantError(t, kafka.For(txn, "out", serde.String()).Send(t.Context(), "v", nil), kafka.ErrTransaction)

	// One transaction at a time; waiting for one's turn ends with the context.
	wantError(t, txn.InTransaction(t.Context(), func(*kafka.Transaction) error {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errChanged)
		return txn.InTransaction(ctx, nil)
	}), errChanged)
	noError(t, txn.Close(t.Context()), "close")
	wantError(t, txn.InTransaction(t.Context(), nil), kafka.ErrClosed)
}
