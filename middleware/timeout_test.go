package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checking(func(ctx context.Context, v string) error {
			switch v {
			case "heeds":
				<-ctx.Done()
				return ctx.Err()
			case "late":
				time.Sleep(time.Minute)
			case "fails":
				return errOops
			}
			return nil
		}, middleware.Timeout(time.Second))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "heeds"), pipelinetest.Text("k", "late"), pipelinetest.Text("k", "fails"), pipelinetest.Text("k", "quick"))
		began := time.Now()
		pipelinetest.Run(t, p, c)
		expectValues(t, c, "out", "late", "quick")
		expectValues(t, c, "dlq", "heeds", "fails")
		dead := c.DeadLetters("dlq")
		if d := dead[0]; d.Stage != "check" || !strings.Contains(d.Error, "context deadline exceeded") {
			t.Errorf("%s: %s", d.Stage, d.Error)
		}
		if d := dead[1]; d.Error != "oops" {
			t.Errorf("%s: %s", d.Stage, d.Error)
		}
		if took := time.Since(began); took < 61*time.Second || took > 63*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// The next record begins only when the chain has returned: the task's memory is its.
func TestTimeoutWaitsForUserCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		p := checking(func(context.Context, string) error {
			running++
			most = max(most, running)
			time.Sleep(time.Minute) // heeds nothing
			running--
			return errOops
		}, middleware.Timeout(time.Second))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "a"), pipelinetest.Text("k", "b"))
		pipelinetest.Run(t, p, c)
		if most != 1 || running != 0 {
			t.Errorf("%d at once, %d left", most, running)
		}
		expectValues(t, c, "dlq", "a", "b")
	})
}

// What middleware outside of it sees is the time-out, and the stage's own error.
func TestTimeoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen error
		look := pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				seen = next(ctx, r)
				return seen
			}
		})
		p := checking(func(ctx context.Context, _ string) error { <-ctx.Done(); return errOops }, look, middleware.Timeout(time.Second))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "v"))
		pipelinetest.Run(t, p, c)
		stage, ok := errors.AsType[*pipeline.StageError](seen)
		if !errors.Is(seen, middleware.ErrTimeout) || !errors.Is(seen, context.DeadlineExceeded) || !errors.Is(seen, errOops) || !ok || stage.Stage != "check" {
			t.Errorf("error %v", seen)
		}
	})
}

// Outside of Retry it bounds all tries and the waits between; the stage's policy decides.
func TestTimeoutOfAllTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := checking(func(context.Context, string) error { tries++; return errOops },
			middleware.Timeout(time.Minute), middleware.Retry(99, pipeline.Backoff{Initial: 40 * time.Second, Max: 40 * time.Second}))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "v"))
		began := time.Now()
		pipelinetest.Run(t, p, c)
		if d := c.DeadLetters("dlq"); tries != 2 || len(d) != 1 || d[0].Stage != "check" || !strings.Contains(d[0].Error, "oops") {
			t.Errorf("%d tries, dead letters %v", tries, d)
		}
		if took := time.Since(began); took < time.Minute || took > 62*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTimeoutMistakes(t *testing.T) { expectInvalid(t, middleware.Timeout(0), "middleware.Timeout") }
