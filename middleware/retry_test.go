package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name     string
		failures int   // of the first tries
		err      error // theirs
		want     int   // tries
		dead     int
		fails    bool
	}{
		{"passes at last", 3, errOops, 4, 0, false},
		{"given up", 99, errOops, 4, 1, false},
		{"fatal", 99, pipeline.Fatal(errOops), 1, 0, true},
		{"retriable, without limit", 20, pipeline.Retriable(errOops), 21, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				p := checking(func(context.Context, string) error {
					tries++
					if tries <= c.failures {
						return c.err
					}
					return nil
				}, middleware.Retry(3, pipeline.Backoff{Initial: time.Second, Max: 4 * time.Second}))
				cl := one(p)
				cl.Feed("in", pipelinetest.Text("k", "v"))
				began := time.Now()
				err := cl.Run(t.Context(), p)
				if (err != nil) != c.fails || c.fails && !errors.Is(err, errOops) {
					t.Errorf("error %v", err)
				}
				if tries != c.want || len(cl.Records("dlq")) != c.dead {
					t.Errorf("%d tries, %d dead letters; want %d, %d", tries, len(cl.Records("dlq")), c.want, c.dead)
				}
				if took := time.Since(began); c.want == 4 && (took < 5600*time.Millisecond || took > 8*time.Second) { // 1+2+4 s, less a fifth
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// What stands before the record that waits is committed; a stop does not wait.
func TestRetryKeepsNothingElseWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checking(func(_ context.Context, v string) error {
			if v == "bad" {
				return errOops
			}
			return nil
		}, middleware.Retry(1, pipeline.Backoff{Initial: time.Hour}))
		c := one(p)
		c.Feed("in", pipelinetest.Text("k", "good"), pipelinetest.Text("k", "bad"))
		w := c.Start(t.Context(), p)
		time.Sleep(time.Minute)
		synctest.Wait()
		expectValues(t, c, "out", "good")
		if n := w.Stats().Waiting; n != 1 {
			t.Errorf("%d partitions wait, want 1", n)
		}
		began := time.Now()
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		expectValues(t, c, "dlq")
		if at := c.Committed("p")[pipeline.Partition{Topic: "in"}]; at != 1 {
			t.Errorf("committed %d, want 1: the record that waited is not done", at)
		}
	})
}

func TestRetryMistakes(t *testing.T) {
	expectInvalid(t, middleware.Retry(-1, pipeline.Backoff{}), "middleware.Retry", "negative")
	expectInvalid(t, middleware.Retry(1, pipeline.Backoff{Max: -1}), "negative")
}
