package kafka

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
)

// What interceptors have not been told yet is bounded: a pipeline waits for those that
// are slow, MaxBlock long, before it hands more over.
func TestOutcomesThatWaitToBeToldAreBounded(t *testing.T) {
	c, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "out", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	release := make(chan struct{})
	s := NewSink(Config{
		Brokers: c.Brokers(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Producer: ProducerConfig{MaxBlock: 100 * time.Millisecond},
		Interceptors: []Interceptor{InterceptorFuncs{Acknowledgment: func(Result, error) { <-release }}},
	})
	_, err = s.Open(t.Context(), pipeline.Spec{Guarantee: pipeline.AtLeastOnce, Outputs: []string{"out"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const limit = 4
	s.acks.pending = newPending(limit)
	one := []pipeline.Output{{Topic: "out", Value: []byte("v")}}
	for i := range limit + 2 { // one more is being told
		err = s.Send(t.Context(), one)
		if i < limit && err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
	}
	var se *pipeline.SinkError
	if !errors.Is(err, ErrBufferFull) || !errors.As(err, &se) || se.Verdict != pipeline.Abortable || len(se.Rejected) > 0 {
		t.Errorf("got %v, want ErrBufferFull", err)
	}
	close(release)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.acks.pending.n.Load(); n != 0 {
		t.Errorf("%d are pending after a flush", n)
	}
	if err := s.Send(t.Context(), one); err != nil {
		t.Error(err)
	}
}
