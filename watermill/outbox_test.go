package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/watermill"
)

// note is a message with a context.
func note(ctx context.Context, payload string) *message.Message {
	return message.NewMessageWithContext(ctx, "note", []byte(payload))
}

func TestOutboxJoinsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &watermill.Outbox{Topics: []string{"audit", "bills"}}
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			n := note(msg.Context(), "first")
			n.Metadata.Set("a", "2")
			noError(t, box.Publish("audit", n, note(msg.Context(), "second")), "publish")
			n.Metadata.Set("a", "changed later") // it is another's by now
			noError(t, box.Publish("bills", msg), "publish")
			if string(msg.Payload) == "fails" {
				return []*message.Message{msg}, errOops
			}
			return []*message.Message{msg}, nil
		}, watermill.Publishing(box), pipeline.OnError(pipeline.ToDeadLetter)), in("1", "v", "a=1", "a=2"), in("2", "fails"))
		expectRows(t, c, "audit", "k: first "+uuid+"note a=1 a=2", "k: second "+uuid+"note")
		expectRows(t, c, "bills", "k: v "+uuid+"1 a=1 a=2")
		expectRows(t, c, "out", "k: v "+uuid+"1 a=1 a=2")
		if n := len(c.DeadLetters("dlq")); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
	})
}

func TestOutboxKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &watermill.Outbox{Topics: []string{"audit"}, PartitionKey: func(topic string, msg *message.Message) (string, error) {
			if msg.UUID == "bad" {
				return "", errOops
			}
			return topic + " " + string(msg.Payload), nil
		}}
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			noError(t, box.Publish("audit", note(msg.Context(), "x")), "publish")
			if err := box.Publish("audit", note(msg.Context(), "y"), message.NewMessageWithContext(msg.Context(), "bad", nil)); !errors.Is(err, errOops) {
				t.Errorf("error %v, want %v", err, errOops)
			}
			return nil, nil
		}, watermill.Publishing(box)), in("1", "v"))
		expectRows(t, c, "audit", "audit x: x "+uuid+"note") // nothing of the call that failed
	})
}

// Publishing fails loudly where there is no transaction to join.
func TestOutboxRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, other := &watermill.Outbox{Topics: []string{"audit"}}, &watermill.Outbox{Topics: []string{"audit"}}
		var before context.Context
		refuses := func(o *watermill.Outbox, topic string, want error, messages ...*message.Message) {
			t.Helper()
			err := o.Publish(topic, messages...)
			if e, ok := errors.AsType[*watermill.PublishError](err); !ok || !errors.Is(err, want) || e.Topic != topic || e.Messages != len(messages) {
				t.Errorf("error %v, want %v", err, want)
			}
		}
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			if before != nil {
				refuses(box, "audit", watermill.ErrTransactionEnded, note(before, "x")) // in the next record's time
				if err := box.Publish("audit", note(ctx, "x"), note(before, "y")); err == nil {
					t.Error("two records' messages were published together")
				}
			}
			before = ctx
			refuses(box, "elsewhere", pipeline.ErrUnknownTopic, note(ctx, "x"))
			refuses(box, "audit", watermill.ErrNoTransaction, note(context.Background(), "x"))
			refuses(box, "audit", watermill.ErrNoTransaction, note(ctx, "x"), message.NewMessage("none", nil))
			refuses(other, "audit", watermill.ErrNotPublishing, note(ctx, "x"))
			return nil, errors.Join(box.Publish("audit"), box.Close())
		}, watermill.Publishing(box)), in("1", "v"), in("2", "v"))
		refuses(box, "audit", watermill.ErrTransactionEnded, note(before, "x"))
		expectRows(t, c, "audit")
	})
}

// What a try that failed has published does not count, if a middleware tries again; and
// what the poison queue publishes does.
func TestOutboxAndMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &watermill.Outbox{Topics: []string{"audit", "poison"}}
		poison, err := middleware.PoisonQueue(box, "poison")
		noError(t, err, "poison queue")
		tries := 0
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			tries++
			noError(t, box.Publish("audit", note(msg.Context(), fmt.Sprint(tries))), "publish")
			if tries == 2 {
				panic(errOops)
			}
			if tries < 4 || string(msg.Payload) == "poison" {
				return nil, errOops
			}
			return []*message.Message{msg}, nil
		}, watermill.Publishing(box), watermill.Middleware(poison, middleware.Retry{MaxRetries: 3}.Middleware, middleware.Recoverer)),
			in("1", "v"), in("2", "poison"))
		expectRows(t, c, "audit", "k: 4 "+uuid+"note", "k: 8 "+uuid+"note")
		expectRows(t, c, "out", "k: v "+uuid+"1")
		got := c.Records("poison")
		if len(got) != 1 || string(got[0].Value) != "poison" {
			t.Errorf("poison queue %v", got)
		}
	})
}

// A handler may publish from goroutines of its own.
func TestOutboxFromGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &watermill.Outbox{Topics: []string{"audit"}}
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { noError(t, box.Publish("audit", note(msg.Context(), "x")), "publish") })
			}
			all.Wait()
			return nil, nil
		}, watermill.Publishing(box)), in("1", "v"))
		if n := len(c.Records("audit")); n != 10 {
			t.Errorf("%d records, want 10", n)
		}
	})
}
