package sqlsink_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// Whatever goes wrong at whatever step of the engine's protocol, each record has its effect
// once.
func TestEveryStep(t *testing.T) {
	var db *sql.DB
	var want []string
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: newPipeline,
		Feed: func(c *pipelinetest.Cluster) {
			db = newDB(t, nil)
			want = feed(c, 10)
		},
		Occurrences: occurrences(),
		Options:     []pipelinetest.Option{pipelinetest.Into(func() pipeline.Sink { return newSink(db) }), often},
		Check: func(*pipelinetest.Cluster) error {
			return errors.Join(check(db, want, 2), db.Close())
		},
		OnlyCheck: true,
	})
}

func occurrences() int {
	if raceEnabled {
		return 1
	}
	return 2
}

// Whichever call of the driver loses its connection, before or after its effect, and
// whether the process goes on or ends with it, each record has its effect once.
func TestEveryCall(t *testing.T) {
	const n = 8
	run := func(t *testing.T, f *checksql.Faults, crash bool) {
		synctest.Test(t, func(t *testing.T) {
			db := newDB(t, f)
			defer db.Close()
			f.Arm()
			c := cluster(newPipeline())
			want := feed(c, n)
			if err := runWithRestarts(t.Context(), c, db, f, crash); err != nil {
				t.Fatal(err)
			}
			f.Disarm()
			if err := check(db, want, 2); err != nil {
				t.Error(err)
			}
		})
	}
	count := new(checksql.Faults)
	run(t, count, false)
	calls := count.Calls()
	if calls < 50 {
		t.Fatalf("the run made %d calls; there is nothing to break", calls)
	}
	stride := 2 // a transaction makes some twenty: each kind of call is struck in one of them
	if raceEnabled {
		stride = 13
	}
	for at := 1; at <= calls; at += stride {
		for _, after := range []bool{false, true} {
			for _, crash := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/after=%v/crash=%v", at, after, crash), func(t *testing.T) {
					run(t, &checksql.Faults{At: at, After: after}, crash)
				})
			}
		}
	}
}

// runWithRestarts runs a worker to the end, and another if it crashes or cannot start.
func runWithRestarts(ctx context.Context, c *pipelinetest.Cluster, db *sql.DB, f *checksql.Faults, crash bool) error {
	for {
		p := newPipeline()
		w := c.Start(ctx, p, into(db), often)
		if crash {
			f.OnStrike(w.Crash)
		}
		finished, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-w.Done():
				stop()
			case <-finished.Done():
			}
		}()
		err := c.AwaitFinished(finished, p)
		stop()
		if ended := w.Stop(); ended != nil && !errors.Is(ended, pipelinetest.ErrCrashed) && !errors.Is(ended, checksql.ErrLost) {
			return ended
		}
		if err == nil && c.Finished(p) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
