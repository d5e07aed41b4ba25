package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func TestFailIsTheDefault(t *testing.T) {
	task := compileTask(t, build(failing(errOops)), pipeline.TaskConfig{})
	process(t, task, "a")
	err := task.Process(t.Context(), rawRecord("bad"))
	expectStage(t, err, "check", errOops)
	if want := `pipeline "test", stage "check", record in[3]@42: oops`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	expectOutputs(t, task, "out=a")
}

func TestPolicies(t *testing.T) {
	dlq := pipeline.DeadLetter("dlq")
	for _, c := range []struct {
		name  string
		opts  []pipeline.Option
		stage []pipeline.StageOption
		want  []string // nil means that the pipeline fails
	}{
		{"dead letter by DeadLetter", []pipeline.Option{dlq}, nil, []string{"out=a", "dlq=bad", "out=b"}},
		{"skip", []pipeline.Option{pipeline.OnError(pipeline.Skip)}, nil, []string{"out=a", "out=b"}},
		{"a stage's own policy wins", []pipeline.Option{dlq}, []pipeline.StageOption{pipeline.OnError(pipeline.Skip)}, []string{"out=a", "out=b"}},
		{"also if it is the default", []pipeline.Option{dlq}, []pipeline.StageOption{pipeline.OnError(pipeline.Fail)}, nil},
		{"a stage's dead letter", []pipeline.Option{dlq, pipeline.OnError(pipeline.Fail)}, []pipeline.StageOption{pipeline.OnError(pipeline.ToDeadLetter)}, []string{"out=a", "dlq=bad", "out=b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := compileTask(t, build(failing(errOops, c.stage...), c.opts...), pipeline.TaskConfig{})
			if c.want == nil {
				expectStage(t, task.Process(t.Context(), rawRecord("bad")), "check", errOops)
				return
			}
			process(t, task, "a", "bad", "b")
			expectOutputs(t, task, c.want...)
		})
	}
}

// Half a fan-out never leaves: what the first branch put out is dropped when the
// second fails, and the dead letter stands in its place.
func TestAFanOutLeavesWholeOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		policy pipeline.Policy
		want   []string
	}{
		{pipeline.ToDeadLetter, []string{"one=a", "one=a", "two=a", "dlq=bad", "one=b", "one=b", "two=b"}},
		{pipeline.Skip, []string{"one=a", "one=a", "two=a", "one=b", "one=b", "two=b"}},
	} {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.OnError(c.policy))
		in := pipeline.From(p, "in", serde.String())
		pipeline.To(stages.FlatMap(in, "twice", func(v string) ([]string, error) { return []string{v, v}, nil }), "one", serde.String())
		pipeline.To(failing(errOops)(in), "two", serde.String())
		task := compileTask(t, p, pipeline.TaskConfig{})
		process(t, task, "a", "bad", "b")
		expectOutputs(t, task, c.want...)
	}
}

func TestRetryThen(t *testing.T) {
	for _, c := range []struct {
		name  string
		then  pipeline.Policy
		fails int // of 3 tries
		want  []string
	}{
		{"succeeds", pipeline.ToDeadLetter, 2, []string{"out=a"}},
		{"then dead letter", pipeline.ToDeadLetter, 3, []string{"dlq=a"}},
		{"then skip", pipeline.Skip, 3, nil},
		{"retries of then do not add up", pipeline.Retry(5, pipeline.Backoff{}, pipeline.Skip), 3, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, before := 0, 0
				p := build(func(s stream) stream {
					s = stages.Peek(s, "before", func(string) { before++ })
					return stages.Check(s, "flaky", func(string) error {
						if calls++; calls <= c.fails {
							return errOops
						}
						return nil
					}, pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{Initial: 10 * time.Second, Max: 15 * time.Second}, c.then)))
				}, pipeline.DeadLetter("dlq"))
				task := compileTask(t, p, pipeline.TaskConfig{})
				start := time.Now()
				process(t, task, "a")
				if calls != 3 || before != 1 {
					t.Errorf("the stage ran %d times, the one before %d times, want 3 and 1", calls, before)
				}
				if d := time.Since(start); d < 20*time.Second || d > 25*time.Second { // 10 s and 15 s, each up to a fifth less
					t.Errorf("it took %v", d)
				}
				expectOutputs(t, task, c.want...)
			})
		})
	}
}

func TestRetryThenFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := build(func(s stream) stream {
			return stages.Check(s, "flaky", func(string) error { calls++; return errOops },
				pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{}, pipeline.Fail)))
		})
		expectStage(t, compileTask(t, p, pipeline.TaskConfig{}).Process(t.Context(), rawRecord("a")), "flaky", errOops)
		if calls != 2 {
			t.Errorf("%d calls, want 2", calls)
		}
	})
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		b    pipeline.Backoff
		try  int
		want time.Duration // at most; at least four fifths of it
	}{
		{pipeline.Backoff{}, 0, 100 * time.Millisecond},
		{pipeline.Backoff{}, 1, 200 * time.Millisecond},
		{pipeline.Backoff{}, 50, time.Second},
		{pipeline.Backoff{Initial: time.Minute}, 3, time.Minute},
		{pipeline.Backoff{Initial: time.Second, Max: 3 * time.Second}, 1, 2 * time.Second},
		{pipeline.Backoff{Initial: time.Second, Max: 3 * time.Second}, 1 << 30, 3 * time.Second},
	} {
		for range 20 {
			if d := c.b.Wait(c.try); d > c.want || d < c.want*4/5 {
				t.Errorf("%+v.Wait(%d) = %v, want %v or up to a fifth less", c.b, c.try, d, c.want)
			}
		}
	}
}

// A panic is not retried: the same input would panic again.
func TestPanicsAreNotRetried(t *testing.T) {
	calls := 0
	p := build(func(s stream) stream {
		return stages.Check(s, "boom", func(string) error { calls++; panic("boom") },
			pipeline.OnError(pipeline.Retry(3, pipeline.Backoff{}, pipeline.ToDeadLetter)))
	}, pipeline.DeadLetter("dlq"))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a")
	expectOutputs(t, task, "dlq=a")
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}

// What is retriable waits without limit, whatever the policy, until the task is
// stopped; the record is then neither done nor wrong.
func TestRetriableWaitsUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := build(func(s stream) stream {
			return stages.Check(s, "down", func(v string) error {
				if v == "a" {
					return nil
				}
				calls.Add(1)
				return fmt.Errorf("asking: %w", pipeline.Retriable(errOops))
			})
		}, pipeline.DeadLetter("dlq"))
		stop := make(chan struct{})
		task := compileTask(t, p, pipeline.TaskConfig{Stop: stop})
		process(t, task, "a")
		done := make(chan error)
		go func() { done <- task.Process(t.Context(), rawRecord("b")) }()

		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := calls.Load(); n < 24*3600/5 || n > 24*3600/4+10 { // every 4 to 5 seconds in the end
			t.Errorf("%d tries in a day", n)
		}
		select {
		case err := <-done:
			t.Fatalf("gave up with %v", err)
		default:
		}
		close(stop)
		err := <-done
		if _, is := errors.AsType[*pipeline.StageError](err); err == nil || is {
			t.Errorf("got %v, want an error that is no record's", err)
		}
		expectOutputs(t, task, "out=a")
	})
}

func TestRetriableRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := build(func(s stream) stream {
			return stages.Check(s, "down", func(string) error {
				if calls++; calls < 100 {
					return pipeline.Retriable(errOops)
				}
				return nil
			})
		}, pipeline.DeadLetter("dlq"))
		task := compileTask(t, p, pipeline.TaskConfig{})
		process(t, task, "a")
		expectOutputs(t, task, "out=a")
	})
}

// The end of the context is not the record's error either.
func TestAnEndedContextIsNotTheRecordsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, stageErr := range []error{errOops, pipeline.Retriable(errOops)} {
			cause := errors.New("revoked")
			ctx, cancel := context.WithCancelCause(t.Context())
			p := build(func(s stream) stream {
				return stages.CheckCtx(s, "slow", func(ctx context.Context, _ string) error {
					<-ctx.Done()
					return stageErr
				})
			}, pipeline.DeadLetter("dlq"))
			task := compileTask(t, p, pipeline.TaskConfig{})
			time.AfterFunc(time.Second, func() { cancel(cause) })
			if err := task.Process(ctx, rawRecord("a")); !errors.Is(err, cause) {
				t.Errorf("got %v, want %v", err, cause)
			}
			expectOutputs(t, task)
		}
	})
}

func TestFatalBeatsEveryPolicy(t *testing.T) {
	for _, policy := range []pipeline.Policy{pipeline.ToDeadLetter, pipeline.Skip, pipeline.Retry(3, pipeline.Backoff{Initial: time.Hour}, pipeline.Skip)} {
		synctest.Test(t, func(t *testing.T) {
			p := build(failing(fmt.Errorf("registry: %w", pipeline.Fatal(errOops))), pipeline.DeadLetter("dlq"), pipeline.OnError(policy))
			task := compileTask(t, p, pipeline.TaskConfig{})
			start := time.Now()
			err := task.Process(t.Context(), rawRecord("bad"))
			expectStage(t, err, "check", errOops)
			if !pipeline.IsFatal(err) || time.Since(start) != 0 {
				t.Errorf("%v: fatal %v after %v, want a fatal error at once", policy, pipeline.IsFatal(err), time.Since(start))
			}
			expectOutputs(t, task)
		})
	}
}

func TestMarks(t *testing.T) {
	if pipeline.Retriable(nil) != nil || pipeline.Fatal(nil) != nil {
		t.Error("marking nil makes an error of it")
	}
	both := pipeline.Fatal(fmt.Errorf("again: %w", pipeline.Retriable(errOops)))
	if !pipeline.IsFatal(both) || pipeline.IsRetriable(both) {
		t.Error("the outermost mark should count")
	}
	if !errors.Is(both, errOops) || both.Error() != "again: oops" {
		t.Errorf("marks should not show, got %v", both)
	}
	if pipeline.IsFatal(errOops) || pipeline.IsRetriable(nil) {
		t.Error("unmarked errors have no class")
	}
}

func TestPolicyString(t *testing.T) {
	for p, want := range map[string]pipeline.Policy{
		"fail": pipeline.Fail, "dead-letter": pipeline.ToDeadLetter, "skip": pipeline.Skip,
		"retry 3, then skip": pipeline.Retry(3, pipeline.Backoff{}, pipeline.Skip),
	} {
		if got := want.String(); got != p {
			t.Errorf("got %q, want %q", got, p)
		}
	}
}
