package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

func stopWithin(d time.Duration) pipelinetest.Option {
	return pipelinetest.Engine(pipeline.StopWithin(d))
}

// An orderly stop finishes the record in progress, commits it, and begins no
// other.
func TestGracefulStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(takes(time.Second)))
		feed(c, 0, numbered("v", 100)...)
		w := c.Start(t.Context(), p, every(5*time.Second, 0, 0))
		settle(7500 * time.Millisecond)
		began := time.Now()
		stop(t, w)
		if took := time.Since(began); took > 600*time.Millisecond {
			t.Errorf("the stop took %v, the record half a second", took)
		}
		expectPosition(t, c, 0, 8)
		expectTexts(t, c, "out", numbered("v", 8)...)
		if got := c.OpenTransactions(); len(got) > 0 {
			t.Errorf("%q is left open", got)
		}
	})
}

// A stage that heeds its context is told when half of the time is over; its record
// is not committed and no error.
func TestStopInterruptsAStage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(func(ctx context.Context, v string) error {
			if v == "v3" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}))
		feed(c, 0, numbered("v", 5)...)
		w := c.Start(t.Context(), p, stopWithin(10*time.Second))
		settle(time.Second)
		began := time.Now()
		stop(t, w)
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the stop took %v, want half of ten seconds", took)
		}
		expectPosition(t, c, 0, 3)
		expectTexts(t, c, "out", "v0", "v1", "v2")
		expectTexts(t, c, "dlq")
	})
}

// One that does not is left behind: named, in time, and without a commit. Others
// are committed.
func TestStopLeavesAStuckStageBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stuck := make(chan struct{})
		p, c := engine(2, calls(func(_ context.Context, v string) error {
			if v == "a0" {
				<-stuck
			}
			return nil
		}))
		feed(c, 0, "a0", "a1")
		feed(c, 1, "b0", "b1")
		w := c.Start(t.Context(), p, stopWithin(8*time.Second), every(time.Second, 0, 0))
		settle(500 * time.Millisecond)
		began := time.Now()
		err := w.Stop()
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("the stop took %v", took)
		}
		se, ok := errors.AsType[*pipeline.StageError](err)
		if !ok || !errors.Is(err, pipeline.ErrStuck) || se.Stage != "calls" || se.Origin.Topic != "in" || se.Origin.Partition != 0 {
			t.Errorf("got %v, want ErrStuck in stage calls of in[0]", err)
		}
		close(stuck)
		settle(time.Minute)
		expectPosition(t, c, 0, 0)
		expectPosition(t, c, 1, 2)
		expectTexts(t, c, "out", "b0", "b1")
	})
}

// A sink that does not answer must not keep Run.
func TestStopTimeout(t *testing.T) {
	for _, step := range []pipelinetest.Step{pipelinetest.StepSend, pipelinetest.StepOffsets, pipelinetest.StepCommit} {
		t.Run(string(step), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(2, asIs)
				feed(c, 0, numbered("v", 50)...)
				c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
					if e.Step == step && e.When == pipelinetest.Before {
						<-ctx.Done() // a black hole
						return context.Cause(ctx)
					}
					return nil
				})
				w := c.Start(t.Context(), p, stopWithin(10*time.Second))
				settle(time.Second)
				began := time.Now()
				if err := w.Stop(); !errors.Is(err, pipeline.ErrStopTimeout) {
					t.Errorf("got %v, want ErrStopTimeout", err)
				}
				if took := time.Since(began); took != 10*time.Second {
					t.Errorf("the stop took %v, want 10 s", took)
				}
				settle(time.Second) // the bubble sees that nothing is left
				expectPosition(t, c, 0, 0)
			})
		})
	}
}

// What fails during the stop is not retried, and not kept quiet.
func TestStopReportsAFailedLastCommit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		w := c.Start(t.Context(), p, every(10*time.Second, 0, 0))
		settle(time.Second)
		if err := w.Stop(); !errors.Is(err, pipelinetest.ErrInjected) {
			t.Errorf("got %v", err)
		}
		expectPosition(t, c, 0, 0)
		expectTexts(t, c, "out")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", "v")
	})
}

// A group that has gone on to another generation by the time of the last commit is no
// failure: another worker has the input, or will have it.
func TestStopDuringARebalance(t *testing.T) {
	for name, opts := range map[string][]pipelinetest.Option{
		"exactly once":  {every(10*time.Second, 0, 0)},
		"at least once": {every(10*time.Second, 0, 0), pipelinetest.Engine(pipeline.Require(pipeline.AtLeastOnce))},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(1, asIs)
				feed(c, 0, "v")
				w := c.Start(t.Context(), p, opts...)
				settle(time.Second)
				var refused atomic.Bool
				c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
					if e.Step == pipelinetest.StepOffsets && e.When == pipelinetest.Before && !refused.Swap(true) {
						c.Rebalance("test")
					}
					return nil
				})
				if err := w.Stop(); err != nil {
					t.Errorf("got %v", err)
				}
				if !refused.Load() {
					t.Error("there was no last commit")
				}
				expectPosition(t, c, 0, 0)
				if err := c.Run(t.Context(), p, opts...); err != nil {
					t.Fatal(err)
				}
				expectPosition(t, c, 0, 1)
			})
		})
	}
}

// A source that waits in Deliver when the pipeline stops is let go at once: the
// record in progress is the last one, not the batch.
func TestStopLetsGoOfASourceThatDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, calls(takes(time.Second)))
		source, sink := c.Ends()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5500*time.Millisecond, cancel)
		began := time.Now()
		err := pipeline.Run(ctx, p, plainSource{source}, sink, pipeline.Require(pipeline.AtLeastOnce))
		if err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("Run took %v, and was stopped after 5.5 s", took)
		}
	})
}

// plainSource does no more than the contract asks for: it delivers and releases
// from one goroutine, and knows of the stop by Deliver.
type plainSource struct{ pipeline.Source }

type plainSession struct{}

func (plainSession) Group() pipeline.GroupMetadata                          { return pipeline.GroupMetadata{} }
func (plainSession) CommitOffsets(context.Context, []pipeline.Offset) error { return nil }

func (plainSource) Run(ctx context.Context, w *pipeline.Worker) error {
	if err := w.Ready(ctx); err != nil {
		return err
	}
	w.Begin(plainSession{})
	defer w.End()
	claim, err := w.Claim(pipeline.Partition{Topic: "in"}, 0)
	if err != nil {
		return err
	}
	defer claim.Release()
	for offset := int64(0); ; {
		b := claim.NewBatch()
		for range 100 {
			r := rawRecord("v")
			r.Origin = pipeline.Origin{Topic: "in", Offset: offset}
			b.Records = append(b.Records, *r)
			offset++
		}
		if !claim.Deliver(b) {
			return nil
		}
	}
}

// A stop commits what all claims have handed over, not what each has: with many claims
// and slow commits it would not end in its time.
func TestStopOfManyClaims(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const partitions = 200
		p := build(dedupe(false, nil))
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions)})
		var stopping atomic.Bool
		commits := 0
		holdCommits(c, 3*pipeline.DefaultCommitInterval, func() bool {
			if stopping.Load() {
				commits++
			}
			return true
		})
		w := c.Start(t.Context(), p)
		for range 5 {
			for part := range int32(partitions) {
				feed(c, part, fmt.Sprint(part, time.Now()))
			}
			time.Sleep(pipeline.DefaultCommitInterval)
		}
		stopping.Store(true)
		stop(t, w)
		if commits > 12 {
			t.Errorf("the stop took %d commits", commits)
		}
	})
}

// sluggish is a sink that does not heed at once that a call's context has ended, and knows
// whether it was closed meanwhile.
type sluggish struct {
	pipeline.TransactionalSink
	op     string // the call that hangs
	needs  time.Duration
	inCall atomic.Int32
	closed atomic.Bool
	misuse atomic.Pointer[string]
}

func (s *sluggish) call(ctx context.Context, op string, f func() error) error {
	s.inCall.Add(1)
	defer s.inCall.Add(-1)
	if s.closed.Load() {
		s.misuse.Store(&op)
	}
	if op == s.op {
		<-ctx.Done()
		time.Sleep(s.needs) // fake time
		return context.Cause(ctx)
	}
	return f()
}

func (s *sluggish) Init(ctx context.Context) error {
	return s.call(ctx, "init", func() error { return s.TransactionalSink.Init(ctx) })
}

func (s *sluggish) Send(ctx context.Context, o []pipeline.Output) error {
	return s.call(ctx, "send", func() error { return s.TransactionalSink.Send(ctx, o) })
}

func (s *sluggish) Commit(ctx context.Context) error {
	return s.call(ctx, "commit", func() error { return s.TransactionalSink.Commit(ctx) })
}

func (s *sluggish) Close() error {
	s.closed.Store(true)
	if n := s.inCall.Load(); n > 0 {
		op := "close"
		s.misuse.Store(&op)
	}
	return s.TransactionalSink.Close()
}

// A sink is not closed while it is in a call, nor called when it is closed: not even if the
// time for the stop is over.
func TestStopTimeoutAndTheSink(t *testing.T) {
	for _, op := range []string{"send", "commit", "init"} {
		for _, needs := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(op, needs), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					p, c := engine(2, asIs)
					feed(c, 0, numbered("v", 50)...)
					source, inner := c.Ends()
					sink := &sluggish{TransactionalSink: inner.(pipeline.TransactionalSink), op: op, needs: needs}
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
					began := time.Now()
					err := pipeline.Run(ctx, p, source, sink, pipeline.StopWithin(5*time.Second), pipeline.Logger(slog.New(slog.DiscardHandler)))
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("the stop took %v", took)
					}
					if (op != "init" || needs == time.Minute) && !errors.Is(err, pipeline.ErrStopTimeout) {
						t.Errorf("got %v, want ErrStopTimeout", err)
					}
					if closed := sink.closed.Load(); closed == (needs == time.Minute) {
						t.Errorf("closed: %v", closed)
					}
					time.Sleep(2 * time.Minute)
					if op := sink.misuse.Load(); op != nil {
						t.Errorf("%s at the wrong time", *op)
					}
				})
			})
		}
	}
}

// deaf is a source that goes on when its time is over.
type deaf struct {
	pipeline.Source
	worker atomic.Pointer[pipeline.Worker]
}

func (d *deaf) Run(_ context.Context, w *pipeline.Worker) error {
	if err := w.Ready(context.Background()); err != nil {
		return err
	}
	d.worker.Store(w)
	time.Sleep(time.Hour) // fake time
	return nil
}

// Who is left behind is given nothing of a sink that is closed.
func TestARunThatWasGivenUpDoesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		source, sink := c.Ends()
		d := &deaf{Source: source}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := pipeline.Run(ctx, p, d, sink, pipeline.StopWithin(5*time.Second), pipeline.Logger(slog.New(slog.DiscardHandler))); !errors.Is(err, pipeline.ErrStopTimeout) {
			t.Errorf("got %v, want ErrStopTimeout", err)
		}
		d.worker.Load().Begin(plainSession{})
		select {
		case <-d.worker.Load().SessionOver():
		default:
			t.Error("a session has begun")
		}
		time.Sleep(2 * time.Hour)
	})
}
