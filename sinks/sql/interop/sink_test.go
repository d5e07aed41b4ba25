package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

// Whichever call of the driver loses its connection, before or after its effect, each record
// has its effect once.
func TestEveryCall(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		run := func(t *testing.T, f *checksql.Faults, crash bool) {
			dsn := d.fresh(t)
			db := d.open(t, dsn, f)
			setup(t, db)
			f.Arm()
			c := cluster()
			want, bad := feed(c, 8)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for p := newPipeline("test"); !c.Finished(p); p = newPipeline("test") {
				w := c.Start(ctx, p, pipelinetest.Into(func() pipeline.Sink { return newSink(d, db) }), often)
				if crash {
					f.OnStrike(w.Crash)
				}
				await, stop := context.WithCancel(ctx)
				go func() { <-w.Done(); stop() }()
				_ = c.AwaitFinished(await, p)
				if err := w.Stop(); err != nil && !errors.Is(err, pipelinetest.ErrCrashed) && !errors.Is(err, checksql.ErrLost) {
					t.Fatal(err)
				}
			}
			f.Disarm()
			if err := check(db, want, bad); err != nil {
				t.Error(err)
			}
		}
		count := new(checksql.Faults)
		run(t, count, false)
		stride := 13 // the sink's own tests take each, on SQLite
		for at := 1; at <= count.Calls(); at += stride {
			for i := range 4 {
				after, crash := i&1 != 0, i&2 != 0
				t.Run(fmt.Sprintf("%d/after=%v/crash=%v", at, after, crash), func(t *testing.T) {
					run(t, &checksql.Faults{At: at, After: after}, crash)
				})
			}
		}
	})
}

var (
	part      = pipeline.Partition{Topic: "in", Partition: 0}
	beginning = pipeline.Beginning{Partition: part, Group: "test"}
)

func opened(t *testing.T, s *sqlsink.Sink) *sqlsink.Sink {
	t.Helper()
	_, err := s.Open(t.Context(), pipeline.Spec{Pipeline: "test", Inputs: []string{"in"}, Outputs: []string{"dlq", "effects"}, Cluster: "c"})
	if err == nil {
		err = s.Init(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(ctx context.Context, s *sqlsink.Sink, value string, next int64) error {
	return errors.Join(
		s.Begin(ctx),
		s.Send(ctx, []pipeline.Output{{Topic: "effects", Value: []byte(value)}}),
		s.SendOffsets(ctx, []pipeline.Offset{{Partition: part, Next: next}}, pipeline.GroupMetadata{Group: "test"}),
		s.Commit(ctx),
	)
}

// Who takes a partition waits for a COMMIT that is under way, and who was before commits
// nothing any more.
func TestTakeDuringCommit(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		dsn := d.fresh(t)
		f := new(checksql.Faults)
		db := d.open(t, dsn, f)
		setup(t, db)
		a, b := opened(t, newSink(d, db)), opened(t, newSink(d, d.open(t, dsn, nil)))
		if _, err := a.Take(t.Context(), beginning); err != nil {
			t.Fatal(err)
		}
		committing, goOn := make(chan struct{}), make(chan struct{})
		f.OnCommit(func(_ func(), inner func() error) error {
			close(committing)
			<-goOn
			return inner()
		})
		done := make(chan error, 1)
		go func() { done <- commit(context.Background(), a, "x", 1) }()
		<-committing
		taken := make(chan int64, 1)
		go func() {
			next, err := b.Take(context.Background(), beginning)
			if err != nil {
				t.Error(err)
			}
			taken <- next
		}()
		select { // give it the time to do wrong
		case next := <-taken:
			t.Errorf("taken at %d during the COMMIT", next)
			taken <- next
		case <-time.After(100 * time.Millisecond):
		}
		close(goOn)
		if next := <-taken; next != 1 {
			t.Errorf("b begins at %d, want 1", next)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := commit(t.Context(), a, "zombie", 2); !errors.Is(err, sqlsink.ErrFenced) {
			t.Errorf("the zombie's commit: %v, want ErrFenced", err)
		}
		if err := commit(t.Context(), b, "y", 2); err != nil {
			t.Error(err)
		}
		if err := check(db, []string{"x", "y"}, 0); err != nil {
			t.Error(err)
		}
	})
}

// A COMMIT whose connection was lost may still be on its way. The sink waits for it
// before it says what became of it.
func TestLateCommit(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		f := new(checksql.Faults)
		db := d.open(t, d.fresh(t), f)
		setup(t, db)
		s := opened(t, newSink(d, db))
		if _, err := s.Take(t.Context(), beginning); err != nil {
			t.Fatal(err)
		}
		var late sync.WaitGroup
		f.OnCommit(func(lose func(), inner func() error) error {
			lose()
			late.Go(func() {
				<-time.After(100 * time.Millisecond)
				if err := inner(); err != nil {
					t.Error(err)
				}
			})
			return checksql.ErrLost
		})
		if err := commit(t.Context(), s, "x", 1); err != nil {
			t.Fatalf("the commit: %v; it has been committed", err)
		}
		late.Wait()
		if err := commit(t.Context(), s, "y", 2); err != nil {
			t.Error(err)
		}
		if err := check(db, []string{"x", "y"}, 0); err != nil {
			t.Error(err)
		}
	})
}

// Many workers that start at once, on a database without the table, each get it, and one
// row for each partition.
func TestAllAtOnce(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		dsn := d.fresh(t)
		setup(t, d.open(t, dsn, nil))
		var all sync.WaitGroup
		for range 8 {
			db := d.open(t, dsn, nil)
			all.Go(func() {
				s := newSink(d, db)
				_, err := s.Open(context.Background(), pipeline.Spec{Inputs: []string{"in"}, Outputs: []string{"dlq", "effects"}, Cluster: "c"})
				if err == nil {
					_, err = s.Take(context.Background(), beginning)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var n, epoch int
		err := d.open(t, dsn, nil).QueryRow("SELECT COUNT(*), MAX(epoch) FROM leat_offsets").Scan(&n, &epoch)
		if err != nil || n != 1 || epoch != 8 {
			t.Errorf("%d rows, epoch %d (%v), want 1 row of epoch 8", n, epoch, err)
		}
	})
}
