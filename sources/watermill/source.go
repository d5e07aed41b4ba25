// Package wmsource makes any Watermill subscriber a pipeline's source.
package wmsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
)

// Config configures a [Source]. Subscriber is required.
type Config struct {
	// Subscriber is what is read from: each input of the pipeline is a topic of it. It
	// stays the caller's, who closes it after the run.
	Subscriber message.Subscriber
	// KeyMetadata is the metadata whose value becomes the record's key. Default: none,
	// and no record has a key.
	KeyMetadata string
	// Logger is where sessions that failed are logged. Default: slog.Default().
	Logger *slog.Logger
}

// Source reads the pipeline's inputs from a Watermill subscriber, for one run. It gives
// at least once and nothing more: Run refuses it for exactly once.
//
// A message is acknowledged when the sink has acknowledged what came of it and of all
// before it in its topic, and refused (Nack) when the run ends before, or something fails
// and it must come again. The source waits for no batch to fill: what has come is
// processed and committed as soon as no more is there, so that subscribers which send the
// next message only after the last was acknowledged get on.
//
// Each topic is one partition, whose offsets count the messages of this run: they are not
// the same when a message comes again, and no key for idempotency. The UUID is, which
// stands in the header _watermill_message_uuid; metadata are headers by key. The
// timestamp is the time of receipt.
type Source struct {
	cfg  Config
	spec pipeline.Spec
}

// ErrSubscriptionEnded says that a subscriber has closed its channel while the pipeline
// ran.
var ErrSubscriptionEnded = errors.New("the subscription has ended")

// New returns a source. It subscribes when it runs.
func New(cfg Config) *Source { return &Source{cfg: cfg} }

// Open checks the configuration.
func (s *Source) Open(_ context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	if s.cfg.Subscriber == nil {
		return pipeline.Terms{}, fmt.Errorf("%w: wmsource.Config: Subscriber is missing", pipeline.ErrInvalid)
	}
	if s.cfg.Logger == nil {
		s.cfg.Logger = slog.Default()
	}
	s.spec = spec
	return pipeline.Terms{Guarantee: pipeline.AtLeastOnce}, nil
}

// Close does nothing: the subscriber is the caller's.
func (s *Source) Close() error { return nil }

// Run subscribes to the inputs and delivers until ctx ends.
func (s *Source) Run(ctx context.Context, w *pipeline.Worker) (err error) {
	// Messages are acknowledged after ctx has ended, too: the subscriptions outlast it.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var topics []*topic
	defer func() {
		end()
		for _, t := range topics {
			t.drain(s.cfg.Logger)
		}
	}()
	for _, name := range s.spec.Inputs {
		messages, err := s.cfg.Subscriber.Subscribe(life, name)
		if err != nil {
			return fmt.Errorf("subscribe to topic %q: %w", name, err)
		}
		topics = append(topics, &topic{name: name, keyFrom: s.cfg.KeyMetadata, messages: messages})
	}
	for try := 0; ; try++ {
		if err := w.Ready(ctx); err != nil {
			return err
		}
		sess := &session{topics: topics}
		err := sess.run(ctx, w)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if sess.committed {
			try = 0
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return nil
		}
	}
}

// session is one in which nothing has failed yet.
type session struct {
	topics []*topic

	mu        sync.Mutex
	committed bool
}

// run is the session from its begin to its end. It returns an error if there shall be no
// other.
func (s *session) run(ctx context.Context, w *pipeline.Worker) error {
	w.Begin(s)
	failed := make(chan error, len(s.topics))
	var delivering sync.WaitGroup
	var claims []*pipeline.Claim
	var err error
	for _, t := range s.topics {
		var c *pipeline.Claim
		if c, err = w.Claim(pipeline.Partition{Topic: t.name}, t.next); err != nil {
			break
		}
		claims = append(claims, c)
		delivering.Go(func() {
			if err := t.deliver(c); err != nil {
				failed <- err
			}
		})
	}
	if err == nil {
		select {
		case err = <-failed:
		case <-ctx.Done():
		case <-w.SessionOver():
		}
	}
	for _, c := range claims {
		c.Release()
	}
	delivering.Wait()
	w.End()
	for _, t := range s.topics {
		t.refuse()
	}
	return err
}

// Group returns nothing: there is none.
func (s *session) Group() pipeline.GroupMetadata { return pipeline.GroupMetadata{} }

// CommitOffsets acknowledges the messages.
func (s *session) CommitOffsets(_ context.Context, offsets []pipeline.Offset) error {
	s.mu.Lock()
	s.committed = true
	s.mu.Unlock()
	for _, o := range offsets {
		for _, t := range s.topics {
			if t.name == o.Topic {
				t.acknowledge(o.Next)
			}
		}
	}
	return nil
}
