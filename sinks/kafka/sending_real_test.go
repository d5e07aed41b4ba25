//go:build real

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// realTopic is a fresh topic with settings, which may be nil, on the real broker.
func realTopic(t *testing.T, partitions int32, settings map[string]string) (c *cluster, brokers []string, name string) {
	t.Helper()
	c, brokers, id := realCluster(t)
	c.CreateTopic(id, partitions, settings)
	return c, brokers, id
}

// Each way to send writes its records, in the order of the sends, and tells the outcome.
func TestRealWaysToSend(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	p := c.producer(kafka.ProducerSettings{Brokers: brokers})
	ctx := t.Context()
	to := func(key string) kafka.Record { return kafka.Record{Topic: topic, Key: []byte(key)} }

	noError(t, p.Send(ctx, to("forgotten"), nil), "send")
	r, err := p.SendSync(ctx, to("sync"))
	noError(t, err, "send")
	f, err := p.SendFuture(ctx, to("future"))
	noError(t, err, "send")
	later, err := f.Wait(ctx)
	noError(t, err, "wait")
	bad := to("bad")
	bad.Partitioner = kafka.ToPartition(7)
	many, err := p.SendMany(ctx, []kafka.Record{to("many-1"), bad, to("many-2")})
	wantError(t, err, kafka.ErrPartition)
	same(t, "offsets", []int64{r.Offset, later.Offset, many[0].Offset, many[1].Offset, many[2].Offset}, []int64{1, 2, 3, -1, 4})

	// A callback sends; Flush waits for it, and the next one for what it has sent.
	told := &journal[string]{}
	for i := range 3 {
		noError(t, p.Send(ctx, to(fmt.Sprint("asked-", i)), func(r kafka.Result, err error) {
			told.add(fmt.Sprint(i, " at ", r.Offset, " ", err))
			if i == 2 {
				if err := p.Send(ctx, to("answer"), nil); err != nil {
					t.Error(err)
				}
				if err := p.Flush(ctx); !errors.Is(err, kafka.ErrInCallback) {
					t.Errorf("flush in a callback: %v", err)
				}
			}
		}), "send")
	}
	noError(t, p.Flush(ctx), "flush")
	noError(t, p.Flush(ctx), "flush the answer")
	same(t, "callbacks", told.list(), []string{"0 at 5 <nil>", "1 at 6 <nil>", "2 at 7 <nil>"})
	same(t, "records", keys(c.ReadAll(topic)), []string{"forgotten", "sync", "future", "many-1", "many-2", "asked-0", "asked-1", "asked-2", "answer"})
}

// A wait ends with its context; the record goes on.
func TestRealWaitEndsWithItsContext(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: kafka.ProducerConfig{Linger: time.Minute}})
	f, err := p.SendFuture(t.Context(), kafka.Record{Topic: topic, Key: []byte("late")})
	noError(t, err, "send")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = f.Wait(ctx)
	wantError(t, err, context.DeadlineExceeded)
	_, err = p.SendSync(ctx, kafka.Record{Topic: topic, Key: []byte("too")}) // taken: only the wait has ended
	wantError(t, err, context.DeadlineExceeded)
	noError(t, p.Flush(t.Context()), "flush")
	r, err := f.Wait(t.Context())
	noError(t, err, "wait again")
	if r.Offset != 0 {
		t.Errorf("offset %d", r.Offset)
	}
	same(t, "records", keys(c.ReadAll(topic)), []string{"late", "too"})
}

// Flush reports, once, what this broker has refused; Close writes what lingers.
func TestRealFlushReportsAndCloseWrites(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, map[string]string{"max.message.bytes": "4000"})
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: kafka.ProducerConfig{Linger: time.Minute}})
	ctx := t.Context()
	for range 2 {
		noError(t, p.Send(ctx, kafka.Record{Topic: topic, Key: []byte("large"), Value: incompressible(8000)}, nil), "send")
	}
	err := p.Flush(ctx)
	wantError(t, err, pipeline.ErrTooLarge)
	if failed, ok := errors.AsType[*kafka.UndeliveredError](err); !ok || failed.Records != 2 {
		t.Errorf("flush: %v", err)
	}
	noError(t, p.Flush(ctx), "the next flush")
	noError(t, p.Send(ctx, kafka.Record{Topic: topic, Key: []byte("small")}, nil), "send")
	noError(t, p.Close(ctx), "close")
	wantError(t, p.Send(ctx, kafka.Record{Topic: topic}, nil), kafka.ErrClosed)
	same(t, "records", keys(c.ReadAll(topic)), []string{"small"})
}

// acks=0 and 1 keep the order too, with one request at a time: the default without
// idempotence. AcksNone takes more at once if asked, on one connection, so that the
// order stays as long as the connection does.
func TestRealOrderWithoutIdempotence(t *testing.T) {
	for name, cfg := range map[string]kafka.ProducerConfig{
		"leader": {Acks: kafka.AcksLeader}, "none": {Acks: kafka.AcksNone}, "none, 20 in flight": {Acks: kafka.AcksNone, MaxInFlight: 20},
	} {
		t.Run(name, func(t *testing.T) {
			c, brokers, topic := realTopic(t, 1, nil)
			cfg.BatchSize, cfg.Linger = 500, kafka.NoLinger
			p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
			const n = 2000
			for i := range n {
				noError(t, p.Send(t.Context(), kafka.Record{Topic: topic, Key: fmt.Append(nil, i)}, nil), "send")
			}
			noError(t, p.Flush(t.Context()), "flush")
			c.Await("the records", func() bool { return len(c.ReadAll(topic)) >= n })
			for i, key := range keys(c.ReadAll(topic)) {
				if key != fmt.Sprint(i) {
					t.Fatalf("record %d is %s", i, key)
				}
			}
		})
	}
}
