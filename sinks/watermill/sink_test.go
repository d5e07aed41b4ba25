package wmsink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	wmsink "github.com/leat-stream/leat/sinks/watermill"
	wmsource "github.com/leat-stream/leat/sources/watermill"
)

// published is a publisher that keeps its calls.
type published struct {
	fail error

	mu    sync.Mutex
	calls []string
	last  []*message.Message
}

func (p *published) Publish(topic string, messages ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := topic + ":"
	for _, m := range messages {
		call += " " + string(m.Payload)
	}
	p.calls, p.last = append(p.calls, call), messages
	return p.fail
}
func (p *published) Close() error { return errors.New("it is not the sink's to close") }

func out(topic, value string) pipeline.Output {
	return pipeline.Output{Topic: topic, Value: []byte(value)}
}

// Outputs of a topic that follow each other are published together, in order.
func TestSendPublishesRuns(t *testing.T) {
	pub := new(published)
	s := wmsink.New(wmsink.Config{Publisher: pub})
	if err := s.Send(t.Context(), []pipeline.Output{out("a", "1"), out("a", "2"), out("b", "3"), out("a", "4")}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a: 1 2", "b: 3", "a: 4"}; !slices.Equal(pub.calls, want) {
		t.Errorf("calls %q, want %q", pub.calls, want)
	}
	if err := errors.Join(s.Flush(t.Context()), s.Close()); err != nil {
		t.Error(err)
	}
}

func TestSendMakesMessages(t *testing.T) {
	pub := new(published)
	s := wmsink.New(wmsink.Config{Publisher: pub, KeyMetadata: "key"})
	full := out("a", "1")
	full.Key = []byte("k")
	full.Headers = pipeline.Headers{{Key: "_watermill_message_uuid", Value: []byte("id")}, {Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}
	if err := s.Send(t.Context(), []pipeline.Output{full, {Topic: "a"}}); err != nil {
		t.Fatal(err)
	}
	m, bare := pub.last[0], pub.last[1]
	if got := fmt.Sprint(m.UUID, m.Metadata, string(m.Payload)); got != "id map[h:2 key:k] 1" && got != "idmap[h:2 key:k]1" {
		t.Errorf("message %s", got)
	}
	if bare.UUID == "" || bare.Payload != nil || len(bare.Metadata) != 0 {
		t.Errorf("message %+v", bare)
	}
	if m.Context() != t.Context() {
		t.Error("the message has another context")
	}
}

func TestSendReportsFailure(t *testing.T) {
	pub := &published{fail: errors.New("oops")}
	err := wmsink.New(wmsink.Config{Publisher: pub}).Send(t.Context(), []pipeline.Output{out("a", "1"), out("b", "2")})
	if se, ok := errors.AsType[*pipeline.SinkError](err); !ok || se.Verdict != pipeline.Unknown || !errors.Is(err, pub.fail) {
		t.Errorf("error %v", err)
	}
	if len(pub.calls) != 1 {
		t.Errorf("%d calls, want none after the failure", len(pub.calls))
	}
}

type nobody struct{}

func (nobody) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	c := make(chan *message.Message)
	context.AfterFunc(ctx, func() { close(c) })
	return c, nil
}
func (nobody) Close() error { return nil }

func TestExactlyOnceIsRefused(t *testing.T) {
	p := pipeline.New("test")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	source := wmsource.New(wmsource.Config{Subscriber: nobody{}})
	if err := pipeline.Run(t.Context(), p, source, wmsink.New(wmsink.Config{Publisher: new(published)})); !errors.Is(err, pipeline.ErrGuarantee) {
		t.Errorf("error %v, want %v", err, pipeline.ErrGuarantee)
	}
	err := pipeline.Run(t.Context(), p, source, wmsink.New(wmsink.Config{}), pipeline.Require(pipeline.AtLeastOnce))
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("error %v, want %v", err, pipeline.ErrInvalid)
	}
}
