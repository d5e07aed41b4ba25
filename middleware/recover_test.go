package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// With Recover a panic is an error to what is around it, and still the stage's.
func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		var seen []error
		look := pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				err := next(ctx, r)
				seen = append(seen, err)
				return err
			}
		})
		p := checking(func(_ context.Context, v string) error {
			tries++
			if v == "always" || tries == 1 {
				panic(errOops)
			}
			return nil
		}, middleware.Retry(1, pipeline.Backoff{}), look, middleware.Recover())
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "once"), pipelinetest.Text("k", "always"))
		pipelinetest.Run(t, p, c)
		expectValues(t, c, "out", "once")
		if d := c.DeadLetters("dlq"); len(d) != 1 || d[0].Stage != "check" || !strings.Contains(d[0].Error, "panic: oops") {
			t.Errorf("dead letters %v", d)
		}
		if len(seen) != 4 || seen[1] != nil {
			t.Fatalf("seen %v", seen)
		}
		stage, ok := errors.AsType[*pipeline.StageError](seen[0])
		panicked, is := errors.AsType[*pipeline.PanicError](seen[0])
		if !ok || !is || stage.Stage != "check" || !errors.Is(seen[0], errOops) || !strings.Contains(string(panicked.Stack), "TestRecover") {
			t.Errorf("error %v", seen[0])
		}
	})
}

// A handler that no task runs, as in a test of a middleware.
func TestRecoveredWithoutATask(t *testing.T) {
	if _, ok := errors.AsType[*pipeline.PanicError](pipeline.Recovered(t.Context(), "x")); !ok {
		t.Error("no PanicError")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pipeline.Pause(ctx, 1<<40); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
