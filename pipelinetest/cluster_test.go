package pipelinetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

func copying() *pipeline.Pipeline {
	p := pipeline.New("copy")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	return p
}

// producer is a worker's sink, opened and initialised, as a member of the group.
func openSink(t *testing.T, c *Cluster, name string) (*sink, pipeline.GroupMetadata) {
	t.Helper()
	w := c.worker([]Option{Instance(name), Group("g")})
	w.enter(pipeline.Spec{})
	s := &sink{c: c, w: w}
	if _, err := s.Open(t.Context(), pipeline.Spec{Outputs: []string{"out"}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Init(t.Context()), s.Begin(t.Context())); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &member{worker: name, topics: []string{"in"}}
	c.join(c.group("g"), m)
	return s, pipeline.GroupMetadata{Group: "g", Member: m.id, Generation: c.group("g").generation}
}

func outputs(values ...string) []pipeline.Output {
	var out []pipeline.Output
	for _, v := range values {
		out = append(out, pipeline.Output{Topic: "out", Key: []byte(v), Value: []byte(v)})
	}
	return out
}

func verdict(err error) pipeline.Verdict {
	se, ok := errors.AsType[*pipeline.SinkError](err)
	if !ok {
		return 255
	}
	return se.Verdict
}

var in0 = pipeline.Partition{Topic: "in"}

// Like Kafka, the cluster checks member and generation of who commits positions,
// and not whether the partition is theirs.
func TestTheClusterDoesNotCheckWhoOwnsAPartition(t *testing.T) {
	c := For(copying())
	s, meta := openSink(t, c, "a")
	old := meta
	old.Generation--
	stranger := meta
	stranger.Member = "who"
	at := []pipeline.Offset{{Partition: in0, Next: 7}}
	for _, wrong := range []pipeline.GroupMetadata{old, stranger} {
		if err := s.SendOffsets(t.Context(), at, wrong); verdict(err) != pipeline.Abortable {
			t.Errorf("%+v got %v", wrong, err)
		}
	}
	if c.Owner("g", "in", 0) != "" {
		t.Fatal("nobody has synced yet")
	}
	if err := errors.Join(s.SendOffsets(t.Context(), at, meta), s.Commit(t.Context())); err != nil {
		t.Errorf("Kafka takes this, but got %v", err)
	}
	if got := c.Committed("g")[in0]; got != 7 {
		t.Errorf("committed %d", got)
	}
}

// KAFKA-17754: without a new epoch a late EndTxn ends the next transaction.
func TestALateEndTxnCommitsTheNextTransaction(t *testing.T) {
	for _, bump := range []bool{false, true} {
		c := For(copying())
		s, _ := openSink(t, c, "a")
		c.Inject(Fault{Step: StepAbort, Kind: LateEnd}, Fault{Step: StepCommit, Kind: LateEnd})
		if err := s.Send(t.Context(), outputs("first")); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context()); verdict(err) != pipeline.Unknown {
			t.Fatalf("got %v", err)
		}
		if bump {
			if err := s.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.Begin(t.Context()), s.Send(t.Context(), outputs("second"))); err != nil {
			t.Fatal(err)
		}
		if got := len(c.Records("out")); bump != (got == 0) {
			t.Errorf("with a new epoch %v, %d records are committed", bump, got)
		}
	}
}

// A transaction hides itself and what follows it from read_committed, until it
// ends or its time is up.
func TestTransactionTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(Config{Topics: []Topic{{Name: "in"}, {Name: "out", Partitions: 1}}})
		a, _ := openSink(t, c, "a")
		b, _ := openSink(t, c, "b")
		if err := errors.Join(a.Send(t.Context(), outputs("x")), b.Send(t.Context(), outputs("y")), b.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		if n, all := len(c.Records("out")), len(c.Uncommitted("out")); n != 0 || all != 2 {
			t.Errorf("%d committed, %d written; want 0 and 2", n, all)
		}
		if got := c.OpenTransactions(); !slices.Equal(got, []string{"g-a"}) {
			t.Errorf("open: %q", got)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if got := c.Records("out"); len(got) != 1 || string(got[0].Value) != "y" || got[0].Origin.Offset != 1 {
			t.Errorf("committed %v", got)
		}
		if err := a.Commit(t.Context()); verdict(err) != pipeline.Fenced {
			t.Errorf("got %v", err)
		}
	})
}

// Records land where Kafka's Java client would put them.
func TestPartitioning(t *testing.T) {
	c := For(copying())
	c.Feed("in", Text("21", "fed"), Text("x", "placed").On(1))
	for _, r := range c.Records("in") {
		if want := map[string]int32{"fed": 0, "placed": 1}[string(r.Value)]; r.Origin.Partition != want {
			t.Errorf("%s is in partition %d, want %d", r.Value, r.Origin.Partition, want)
		}
	}
	Run(t, copying(), c)
	for _, r := range c.Records("out") {
		if string(r.Key) == "21" && r.Origin.Partition != 0 {
			t.Errorf("%s is in partition %d", r.Value, r.Origin.Partition)
		}
	}
	for range 8 {
		c.Feed("in", Bytes(nil, nil))
	}
	Run(t, copying(), c)
	seen := map[int32]bool{}
	for _, r := range c.Records("out") {
		if r.Key == nil {
			seen[r.Origin.Partition] = true
			if r.Value != nil {
				t.Error("null became something")
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("records without a key went to %v", seen)
	}
}

func TestMisuse(t *testing.T) {
	c := For(copying())
	for name, f := range map[string]func(){
		"topic":       func() { c.Feed("nowhere", Text("", "")) },
		"partition":   func() { c.Feed("in", Text("", "").On(9)) },
		"value":       func() { c.Feed("in", Value(serde.String(), "\xff")) },
		"dead letter": func() { c.Feed("out", Text("", "")); c.DeadLetters("out") },
		"two topics":  func() { NewCluster(Config{Topics: []Topic{{Name: "a"}, {Name: "a"}}}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := recover(); v == nil || !strings.HasPrefix(v.(string), "pipelinetest: ") {
					t.Errorf("got panic %v", v)
				}
			}()
			f()
		})
	}
}

// forgetful drops values it has seen, and does not restore what it knows.
func forgetful() *pipeline.Pipeline {
	p := pipeline.New("forgetful")
	in := pipeline.From(p, "in", serde.String())
	out := pipeline.Apply(in, "dedupe", "dedupe", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		seen := map[string]bool{}
		sc.Hook(pipeline.Hooks{})
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			if seen[r.Value] {
				return nil
			}
			seen[r.Value] = true
			return next(ctx, r)
		}
	})
	pipeline.To(out, "out", serde.String())
	return p
}

// EveryStep must find a stage that does not take part in the commit.
func TestEveryStepFindsAMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Build: forgetful, Feed: func(c *Cluster) {
			c.Feed("in", Text("a", "a").At(time.UnixMilli(1)), Text("b", "b").At(time.UnixMilli(2)))
		}}
		c, p := s.cluster()
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		want := c.outcome(p, nil)
		struck, err := s.disturbed(t.Context(), Fault{Step: StepCommit, Kind: Abortable}, want)
		if !struck || err == nil || !strings.Contains(err.Error(), "lost or moved") {
			t.Errorf("struck %v, got %v", struck, err)
		}
		if struck, err = s.disturbed(t.Context(), Fault{Step: StepCommit, When: After, Kind: Ambiguous}, want); !struck || err != nil {
			t.Errorf("struck %v, got %v", struck, err)
		}
	})
}

func TestFaultsGoOffOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := copying()
		c := For(p)
		c.Feed("in", Text("a", "a"))
		c.Inject(Fault{Step: StepCommit, Kind: Abortable}, Fault{Step: StepCommit, Kind: Abortable}, Fault{Step: StepCommit, N: 50, Kind: Abortable},
			Fault{Step: StepSend, Kind: Abortable, Worker: "another"})
		s := Run(t, p, c)
		if s.Aborts != 2 || len(c.Armed()) != 2 {
			t.Errorf("%d aborts, armed %v", s.Aborts, c.Armed())
		}
		for _, e := range c.Trace() {
			if e.Worker != "worker" || e.N == 0 {
				t.Errorf("%+v", e)
			}
		}
	})
}
