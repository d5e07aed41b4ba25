package watermill_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/sony/gobreaker"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/watermill"
)

func passes(msg *message.Message) ([]*message.Message, error) { return []*message.Message{msg}, nil }

// marks is a middleware that leaves a mark.
func marks(mark string) message.HandlerMiddleware {
	return func(h message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			msg.Payload = append(msg.Payload, mark...)
			return h(msg)
		}
	}
}

func TestMiddlewareOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := process(t, handled(passes, watermill.Middleware(marks("a"), marks("b")), watermill.Middleware(marks("c"))), in("1", "v"))
		expectRows(t, c, "out", "k: vabc "+uuid+"1")
	})
}

// Watermill's own do what they are for.
func TestWatermillsMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		retry := middleware.Retry{MaxRetries: 3, InitialInterval: time.Second, Multiplier: 1}
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			switch tries++; tries {
			case 1:
				return nil, errOops
			case 2:
				panic("oops")
			case 3:
				<-msg.Context().Done() // the time-out
				return nil, msg.Context().Err()
			}
			return []*message.Message{message.NewMessage("new", []byte("w"))}, nil
		}, watermill.Middleware(
			middleware.CorrelationID, middleware.NewCircuitBreaker(gobreaker.Settings{}).Middleware,
			middleware.Retry{MaxRetries: retry.MaxRetries, InitialInterval: time.Second, Multiplier: 1, ResetContextOnRetry: true}.Middleware,
			middleware.Timeout(time.Minute), middleware.Recoverer,
		)), in("1", "v", "correlation_id=c"))
		expectRows(t, c, "out", "k: w "+uuid+"new correlation_id=c")
		if tries != 4 {
			t.Errorf("%d tries, want 4", tries)
		}
	})
}

func TestMiddlewareThatBreaksIsRefused(t *testing.T) {
	says(t, handled(passes, watermill.Middleware(new(middleware.Deduplicator).Middleware)).Validate(),
		"middleware.(*Deduplicator).Middleware is refused", "outputs would be lost")
	says(t, handled(passes, watermill.Middleware(middleware.InstantAck)).Validate(),
		"middleware.InstantAck is refused", "before the message is handled")
	if err := handled(passes, watermill.Middleware(middleware.Recoverer, middleware.Duplicator)).Validate(); err != nil {
		t.Error(err)
	}
}

// One that hides what it does is found out by what it does.
func TestEarlyAcknowledgementFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hidden := func(h message.HandlerFunc) message.HandlerFunc { return middleware.InstantAck(h) }
		p := handled(passes, watermill.Middleware(hidden), pipeline.OnError(pipeline.Skip))
		task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
		noError(t, err, "compile")
		err = task.Process(t.Context(), &pipeline.Raw{Value: []byte("v")})
		if !errors.Is(err, watermill.ErrAcknowledgedEarly) || !strings.Contains(err.Error(), "handler") {
			t.Errorf("error %v, want %v", err, watermill.ErrAcknowledgedEarly)
		}
	})
}
