package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// shy is a source that gives nothing before what it has given is committed.
type shy struct {
	records, atOnce int
	committed       chan int64
}

func (s *shy) Open(context.Context, pipeline.Spec) (pipeline.Terms, error) {
	return pipeline.Terms{Guarantee: pipeline.AtLeastOnce}, nil
}
func (s *shy) Close() error                  { return nil }
func (s *shy) Group() pipeline.GroupMetadata { return pipeline.GroupMetadata{} }

func (s *shy) CommitOffsets(_ context.Context, offsets []pipeline.Offset) error {
	s.committed <- offsets[0].Next
	return nil
}

func (s *shy) Run(ctx context.Context, w *pipeline.Worker) error {
	w.Begin(s)
	defer w.End()
	c, err := w.Claim(pipeline.Partition{Topic: "in"}, 0)
	if err != nil {
		return err
	}
	defer c.Release()
	for next := 0; next < s.records; {
		for range s.atOnce {
			b := c.NewBatch()
			b.Records = append(b.Records, pipeline.Raw{Value: []byte("v"), Origin: pipeline.Origin{Topic: "in", Offset: int64(next)}})
			if !c.Deliver(b) {
				return errors.New("not taken")
			}
			next++
		}
		c.Idle()
		for at := int64(0); at < int64(next); {
			select {
			case at = <-s.committed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// kept is a sink that counts.
type kept struct{ records int }

func (k *kept) Open(context.Context, pipeline.Spec) (pipeline.Terms, error) {
	return pipeline.Terms{Guarantee: pipeline.AtLeastOnce}, nil
}
func (k *kept) Send(_ context.Context, outputs []pipeline.Output) error {
	k.records += len(outputs)
	return nil
}
func (k *kept) Flush(context.Context) error { return nil }
func (k *kept) Close() error                { return nil }

// What a source waits for is committed at once, whatever the stages take and hold.
func TestIdleCommitsAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		stage func(stream) stream
		took  time.Duration
	}{
		"plain": {asIs, 0},
		"slow":  {calls(takes(20 * time.Millisecond)), 40 * 20 * time.Millisecond},
		"batched": {func(s stream) stream {
			return stages.Batch(s, "batch", stages.BatchConfig{Size: 100}, func(in []string) ([]string, error) { return in, nil })
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipeline.New("test")
				pipeline.To(test.stage(pipeline.From(p, "in", serde.String())), "out", serde.String())
				sink, began := new(kept), time.Now()
				err := pipeline.Run(t.Context(), p, &shy{40, 2, make(chan int64, 100)}, sink,
					pipeline.Require(pipeline.AtLeastOnce), pipeline.CommitEvery(time.Hour, 0, 0))
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != test.took || sink.records != 40 {
					t.Errorf("%d records took %v, want %v", sink.records, took, test.took)
				}
			})
		})
	}
}
