package sqlsink_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

var part = pipeline.Partition{Topic: "in", Partition: 0}

const group = "test"

// opened returns a sink that is ready, for calls without an engine.
func opened(t *testing.T, s *sqlsink.Sink) *sqlsink.Sink {
	t.Helper()
	ctx := t.Context()
	_, err := s.Open(ctx, pipeline.Spec{
		Pipeline: "test", Inputs: []string{"in"}, Outputs: []string{"dlq", "effects", "lengths"}, Cluster: "c",
	})
	if err == nil {
		err = s.Init(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func take(t *testing.T, s *sqlsink.Sink, start int64) int64 {
	t.Helper()
	next, err := s.Take(t.Context(), pipeline.Beginning{Group: group, Partition: part, Position: start})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// commit commits an output and a position.
func commit(ctx context.Context, s *sqlsink.Sink, value string, next int64) error {
	err := s.Begin(ctx)
	if err == nil {
		err = s.Send(ctx, []pipeline.Output{{Topic: "effects", Value: []byte(value), Origin: pipeline.Origin{Topic: "in", Offset: next - 1}}})
	}
	if err == nil {
		err = s.SendOffsets(ctx, []pipeline.Offset{{Partition: part, Next: next}}, pipeline.GroupMetadata{Group: group})
	}
	if err == nil {
		err = s.Commit(ctx)
	}
	return err
}

// Whoever takes a partition begins where the last commit was, and the one before commits
// nothing of it any more.
func TestTakenPartition(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	a, b := opened(t, newSink(db)), opened(t, newSink(db))
	ctx := t.Context()
	if next := take(t, a, 7); next != 7 {
		t.Fatalf("a new partition begins at %d, want where the source says, 7", next)
	}
	if err := commit(ctx, a, "first", 8); err != nil {
		t.Fatal(err)
	}
	if next := take(t, b, 3); next != 8 {
		t.Fatalf("b begins at %d, want 8", next)
	}
	err := commit(ctx, a, "zombie", 9)
	if se, ok := errors.AsType[*pipeline.SinkError](err); !ok || se.Verdict != pipeline.Unknown || !errors.Is(err, sqlsink.ErrFenced) {
		t.Fatalf("the zombie's commit: %v, want ErrFenced, which ends its session", err)
	}
	if err := commit(ctx, b, "second", 9); err != nil {
		t.Fatal(err)
	}
	// One that has taken nothing, or has been initialised since, commits nothing either.
	if err := b.Init(ctx); err != nil {
		t.Fatal(err)
	}
	if err := commit(ctx, b, "forgotten", 10); !errors.Is(err, sqlsink.ErrFenced) {
		t.Errorf("a commit after Init: %v, want ErrFenced", err)
	}
	if got, _ := values(db, "SELECT value FROM effects ORDER BY value"); len(got) != 2 {
		t.Errorf("effects: %q, want first and second", got)
	}
}

// A position that somebody else has moved is found, although nobody has taken the
// partition.
func TestMovedPosition(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	s := opened(t, newSink(db))
	take(t, s, 0)
	if _, err := db.Exec("UPDATE leat_offsets SET next_offset = 5"); err != nil {
		t.Fatal(err)
	}
	if err := commit(t.Context(), s, "x", 1); !errors.Is(err, sqlsink.ErrFenced) {
		t.Errorf("commit: %v, want ErrFenced", err)
	}
}

// Positions of two groups, and of topics of one name in two clusters, are apart.
func TestApart(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	s := opened(t, newSink(db))
	take(t, s, 1)
	if next, err := s.Take(t.Context(), pipeline.Beginning{Group: "another", Partition: part, Position: 2}); err != nil || next != 2 {
		t.Errorf("another group begins at %d (%v), want 2", next, err)
	}
	moved := newSink(db)
	if _, err := moved.Open(t.Context(), pipeline.Spec{Outputs: []string{"dlq", "effects", "lengths"}, Cluster: "d"}); err != nil {
		t.Fatal(err)
	}
	if next := take(t, moved, 3); next != 3 {
		t.Errorf("in another cluster it begins at %d, want 3", next)
	}
}

// A topic that was deleted and made again is not gone on with where the old one was.
func TestReplacedTopic(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	s := opened(t, newSink(db))
	take(t, s, 7) // of a source that does not know the id
	for _, id := range []string{"one", "one", ""} {
		if next, err := s.Take(t.Context(), pipeline.Beginning{Group: group, Partition: part, TopicID: id}); err != nil || next != 7 {
			t.Errorf("topic %q: %d, %v, want 7", id, next, err)
		}
	}
	_, err := s.Take(t.Context(), pipeline.Beginning{Group: group, Partition: part, TopicID: "two"})
	if !errors.Is(err, sqlsink.ErrReplaced) || !pipeline.IsFatal(err) {
		t.Errorf("another topic: %v, want ErrReplaced, which is fatal", err)
	}
	if err := commit(t.Context(), s, "x", 8); err != nil { // the attempt has changed nothing
		t.Error(err)
	}
}

// Who takes a partition waits for a COMMIT that is under way, and begins behind it.
func TestTakeDuringCommit(t *testing.T) {
	f := new(checksql.Faults)
	db := newDB(t, f)
	defer db.Close()
	a, b := opened(t, newSink(db)), opened(t, newSink(db))
	take(t, a, 0)
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
		next, err := b.Take(context.Background(), pipeline.Beginning{Group: group, Partition: part})
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
}

// A COMMIT whose connection was lost may still be on its way. The sink waits for it
// before it says what became of it.
func TestLateCommit(t *testing.T) {
	f := new(checksql.Faults)
	db := newDB(t, f)
	defer db.Close()
	s := opened(t, newSink(db))
	take(t, s, 0)
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
		t.Errorf("the next commit: %v", err)
	}
}

// A worker that has lost its partition without knowing it tries to commit after the new
// owner has: nothing of that is committed.
func TestZombie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t, nil)
		defer db.Close()
		c := cluster(newPipeline())
		want := feed(c, 12)
		frozen, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		var inits atomic.Int32
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.Worker == "a" && e.Step == pipelinetest.StepCommit && e.When == pipelinetest.Before {
				once.Do(func() { close(frozen); <-goOn })
			}
			if e.Worker == "a" && e.Step == pipelinetest.StepInit && e.When == pipelinetest.After {
				inits.Add(1)
			}
			return nil
		})
		a := c.Start(t.Context(), newPipeline(), into(db), often, pipelinetest.Instance("a"))
		<-frozen
		a.Freeze()
		b := c.Start(t.Context(), newPipeline(), into(db), often, pipelinetest.Instance("b"))
		if err := c.AwaitFinished(t.Context(), newPipeline()); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		synctest.Wait()
		time.Sleep(time.Minute) // a joins again
		if n := inits.Load(); n != 2 {
			t.Errorf("a was initialised %d times, want 2: at its start and when it was fenced", n)
		}
		for _, w := range []*pipelinetest.Worker{a, b} {
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		}
		if err := check(db, want, 2); err != nil {
			t.Error(err)
		}
	})
}
