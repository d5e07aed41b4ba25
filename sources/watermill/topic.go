package wmsource

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/wmrecord"
	"github.com/leat-stream/leat/pipeline"
)

// topic is one that is subscribed to.
type topic struct {
	name     string
	keyFrom  string
	messages <-chan *message.Message
	next     int64 // offset of the next message; of the goroutine that delivers

	mu   sync.Mutex
	open []*message.Message // neither acknowledged nor refused, in order
	base int64              // offset of the first of them
}

// deliver hands messages over until the claim takes no more. What the engine has not
// committed is bounded in bytes, and so is what is open, by that and one batch.
func (t *topic) deliver(c *pipeline.Claim) error {
	for {
		var msg *message.Message
		select {
		case msg = <-t.messages:
		case <-c.Done():
			return nil
		}
		if msg == nil {
			return fmt.Errorf("topic %q: %w", t.name, ErrSubscriptionEnded)
		}
		b := c.NewBatch()
		for t.add(b, msg); !b.Full(); t.add(b, msg) {
			if msg = t.waiting(); msg == nil {
				break
			}
		}
		full := b.Full() // the batch is not ours when it is delivered
		if !c.Deliver(b) {
			return nil
		}
		if !full {
			c.Idle()
		}
	}
}

// waiting returns a message if one is there.
func (t *topic) waiting() *message.Message {
	select {
	case msg := <-t.messages:
		return msg
	default:
		return nil
	}
}

func (t *topic) add(b *pipeline.Batch, msg *message.Message) {
	r := pipeline.Raw{
		Value: msg.Payload, Headers: wmrecord.Headers(msg), Timestamp: time.Now().Truncate(time.Millisecond),
		Origin: pipeline.Origin{Topic: t.name, Offset: t.next},
	}
	if key, ok := msg.Metadata[t.keyFrom]; ok && t.keyFrom != "" {
		r.Key = []byte(key)
	}
	b.Bytes += len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		b.Bytes += len(h.Key) + len(h.Value)
	}
	b.Records = append(b.Records, r)
	t.next++
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = append(t.open, msg)
}

// acknowledge acknowledges all messages before an offset.
func (t *topic) acknowledge(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := next - t.base
	for _, msg := range t.open[:n] {
		msg.Ack()
	}
	clear(t.open[:n]) // lets go of them
	t.open, t.base = t.open[n:], next
}

// refuse has the rest come again.
func (t *topic) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, msg := range t.open {
		msg.Nack()
	}
	t.open, t.base = nil, t.next
}

// drainFor is how long a subscriber may take to close its channel.
const drainFor = 3 * time.Second

// drain refuses what comes until the subscriber, whose context has ended, closes the
// channel.
func (t *topic) drain(log *slog.Logger) {
	timer := time.NewTimer(drainFor)
	defer timer.Stop()
	for {
		select {
		case msg, open := <-t.messages:
			if !open {
				return
			}
			msg.Nack()
		case <-timer.C:
			log.Warn("the subscriber does not close its channel", "topic", t.name, "waited", drainFor)
			return
		}
	}
}
