package watermill

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/wmrecord"
	"github.com/leat-stream/leat/pipeline"
)

// Handler runs a Watermill handler as a stage: it is given each message, of a stream of
// records as they were read (serde.Bytes) or of messages ([Messages]), and the messages
// that it returns go on in their order, with the record's key and timestamp; none drops
// the record. If one of them fails further down, none of them leaves. stages.KeyBy sets
// another key. [Middleware] goes around the handler, and with [Publishing] it may publish
// by an [Outbox].
//
// It is called for several partitions at once. The message is a copy, which may be
// changed and returned. Its context ends when the handler returns or the partition must
// be given up; MessagePartitionFromCtx and its like know where it stands. Ack and Nack
// change nothing: an error is the record's, and the stage's policy decides
// (pipeline.OnError), and no error has the record committed together with what was
// returned. A record whose transaction is aborted is handled again. What the handler does
// elsewhere happens at least once.
//
// Returned messages have the headers that their metadata say. If the record has several
// with the same key, they stay if the metadata has the value of the last.
//
// It costs about 1 µs and 8 allocations a record, of which the message takes most, and one
// message more if the stream is of messages, since branches share those.
func Handler[T []byte | *message.Message](s pipeline.Stream[T], name string, h message.HandlerFunc, opts ...pipeline.StageOption) pipeline.Stream[*message.Message] {
	c := handlerOptions(opts)
	if h == nil {
		c.mistake("the handler is nil")
	}
	handle := c.around(h)
	if c.outbox == nil {
		return pipeline.Apply(s, "handler", name, func(sc *pipeline.StageContext, next pipeline.Next[*message.Message]) pipeline.Next[T] {
			return handling[T](sc, handle, nil, next, nil)
		}, c.stageOptions()...)
	}
	out, published := pipeline.Apply2(s, "handler", name, func(sc *pipeline.StageContext, next pipeline.Next[*message.Message], publish pipeline.Next[published]) pipeline.Next[T] {
		return handling[T](sc, handle, c.outbox, next, publish)
	}, c.stageOptions()...)
	c.outbox.outputs(published, name)
	return out
}

// around returns the handler within its middleware.
func (c *handlerConfig) around(h message.HandlerFunc) message.HandlerFunc {
	if len(c.mistakes) > 0 {
		return nil // never called
	}
	if c.outbox != nil {
		h = forgetting(h)
	}
	if len(c.middleware) > 0 {
		h = notYetAcknowledged(h)
	}
	for i := len(c.middleware) - 1; i >= 0; i-- {
		h = c.middleware[i](h)
	}
	return h
}

func notYetAcknowledged(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		select {
		case <-msg.Acked():
			return nil, pipeline.Fatal(ErrAcknowledgedEarly)
		default:
			return h(msg)
		}
	}
}

// forgetting is h without what a failed run of it has published, when it is run again.
func forgetting(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (out []*message.Message, err error) {
		c := recordOf(msg.Context())
		if c == nil { // a middleware has put another context in
			return h(msg)
		}
		began, returned := c.try(), false
		defer func() {
			if !returned || err != nil {
				c.tryFailed(began)
			}
		}()
		out, err = h(msg)
		returned = true
		return out, err
	}
}

// result is what a handler has returned and published.
type result struct {
	returned  []*message.Message
	published []published
}

func handling[T []byte | *message.Message](sc *pipeline.StageContext, h message.HandlerFunc, outbox *Outbox,
	next pipeline.Next[*message.Message], publish pipeline.Next[published],
) pipeline.Next[T] {
	read := reader[T]()
	run := pipeline.Guard(sc, func(ctx context.Context, r *pipeline.Record[T]) (result, error) {
		msg := read(r)
		if msg == nil {
			return result{}, errNilMessage
		}
		return call(newRecordContext(ctx, r, outbox), msg, h)
	})
	scratch, parcel := new(pipeline.Record[*message.Message]), new(pipeline.Record[published])
	return func(ctx context.Context, r *pipeline.Record[T]) error {
		res, err := run(ctx, r)
		if err != nil {
			return err
		}
		if len(res.returned) == 0 && len(res.published) == 0 {
			sc.Drop()
		}
		for _, p := range res.published { // before the handler returned
			*parcel = pipeline.With(r, p)
			parcel.Headers = inherited(r.Headers, p.msg)
			if p.hasKey {
				parcel.Key = p.key
			}
			if err := publish(ctx, parcel); err != nil {
				return err
			}
		}
		for _, msg := range res.returned {
			*scratch = pipeline.With(r, msg)
			scratch.Headers = inherited(r.Headers, msg)
			if err := next(ctx, scratch); err != nil {
				return err
			}
		}
		return nil
	}
}

// reader returns what makes a handler's own message of a record.
func reader[T []byte | *message.Message]() func(*pipeline.Record[T]) *message.Message {
	var read any
	switch any(*new(T)).(type) {
	case []byte:
		read = func(r *pipeline.Raw) *message.Message { return wmrecord.Message(r.Value, r.Headers) }
	default:
		read = func(r *pipeline.Record[*message.Message]) *message.Message {
			if r.Value == nil {
				return nil
			}
			return r.Value.Copy()
		}
	}
	return read.(func(*pipeline.Record[T]) *message.Message)
}

// call runs a handler for one record.
func call(c *recordContext, msg *message.Message, h message.HandlerFunc) (res result, err error) {
	defer c.end() // if it panics
	msg.SetContext(c)
	if res.returned, err = h(msg); err != nil {
		msg.Nack()
		return result{}, err
	}
	msg.Ack()
	for _, out := range res.returned {
		if out == nil {
			return result{}, errReturnedNil
		}
	}
	res.published = c.end()
	return res, nil
}

var errReturnedNil = errors.New("the handler returned a nil message")
