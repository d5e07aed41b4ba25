// Package wmsink makes any Watermill publisher a pipeline's sink.
package wmsink

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/internal/wmrecord"
	"github.com/leat-stream/leat/pipeline"
)

// Config configures a [Sink]. Publisher is required.
type Config struct {
	// Publisher is what is written to: each output of the pipeline is a topic of it. Its
	// Publish must return only when the messages are safe: of one that returns before,
	// what is on the way is lost when it fails. It stays the caller's, who closes it
	// after the run.
	Publisher message.Publisher
	// KeyMetadata is the metadata that the record's key becomes. Default: none, and keys
	// are dropped.
	KeyMetadata string
}

// Sink writes outputs by a Watermill publisher, for one run. It gives at least once and
// nothing more: it has no transactions, and Run refuses it for exactly once.
//
// Headers become metadata, of those with the same key the last. The UUID is that of the
// header _watermill_message_uuid; without one it is made up. Partitioners are not asked:
// how messages are partitioned is the publisher's business. Outputs of a topic that
// follow each other are published in one call, up to what was processed since the last
// one. Publish is called on several goroutines at once, in order for each input
// partition.
type Sink struct{ cfg Config }

// New returns a sink.
func New(cfg Config) *Sink { return &Sink{cfg} }

// Open checks the configuration.
func (s *Sink) Open(context.Context, pipeline.Spec) (pipeline.Terms, error) {
	if s.cfg.Publisher == nil {
		return pipeline.Terms{}, fmt.Errorf("%w: wmsink.Config: Publisher is missing", pipeline.ErrInvalid)
	}
	return pipeline.Terms{Guarantee: pipeline.AtLeastOnce}, nil
}

// Send publishes outputs.
func (s *Sink) Send(ctx context.Context, outputs []pipeline.Output) error {
	for len(outputs) > 0 {
		n := 1
		for n < len(outputs) && outputs[n].Topic == outputs[0].Topic {
			n++
		}
		messages := make([]*message.Message, n)
		for i := range messages {
			messages[i] = s.message(ctx, &outputs[i])
		}
		if err := s.cfg.Publisher.Publish(outputs[0].Topic, messages...); err != nil {
			err = fmt.Errorf("publish %d messages to topic %q: %w", n, outputs[0].Topic, err)
			return &pipeline.SinkError{Op: "send", Verdict: pipeline.Unknown, Err: err}
		}
		outputs = outputs[n:]
	}
	return nil
}

func (s *Sink) message(ctx context.Context, o *pipeline.Output) *message.Message {
	msg := wmrecord.Message(o.Value, o.Headers)
	if msg.UUID == "" {
		msg.UUID = watermill.NewUUID()
	}
	if s.cfg.KeyMetadata != "" && o.Key != nil {
		msg.Metadata.Set(s.cfg.KeyMetadata, string(o.Key))
	}
	msg.SetContext(ctx)
	return msg
}

// Flush does nothing: what Send has published is safe.
func (s *Sink) Flush(context.Context) error { return nil }

// Close does nothing: the publisher is the caller's.
func (s *Sink) Close() error { return nil }
