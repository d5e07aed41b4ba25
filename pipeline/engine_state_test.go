package pipeline_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// count is a stage that numbers the records of a partition from 1, also over restarts: its
// state is the number.
func count(topic string) func(stream) stream {
	return func(s stream) stream {
		return pipeline.ApplyState(s, "count", "count", topic, func(sc *pipeline.StageContext, next pipeline.Next[string], changes pipeline.Next[[]byte]) pipeline.Next[string] {
			c := &counter{}
			sc.Hook(pipeline.Hooks{
				Assigned: func(ctx context.Context) error {
					return sc.Restore(ctx, func(r *pipeline.Raw) error {
						c.n = binary.BigEndian.Uint64(r.Value)
						c.committed = c.n
						return nil
					})
				},
				HandedOver: func() { c.handed = c.n },
				Committed:  func() { c.committed = c.handed },
				Aborted:    func() { c.n = c.committed },
			})
			return func(ctx context.Context, r *pipeline.Record[string]) error {
				sc.Enter()
				c.n++
				sc.Changed(c)
				change := pipeline.With(r, binary.BigEndian.AppendUint64(nil, c.n))
				change.Key = []byte("n")
				if err := changes(ctx, &change); err != nil {
					return err
				}
				out := pipeline.With(r, fmt.Sprintf("%d#%d", sc.Partition().Partition, c.n))
				return next(ctx, &out)
			}
		})
	}
}

type counter struct{ n, handed, committed uint64 }

func (c *counter) Settle(kept bool) {
	if !kept {
		c.n--
	}
}

// counts is a pipeline with it, and a cluster.
func counts(partitions int32) (*pipeline.Pipeline, *pipelinetest.Cluster) {
	return engine(partitions, count("state"))
}

func fedNumbers(partition, n int) (want []string) {
	for i := range n {
		want = append(want, fmt.Sprintf("%d#%d", partition, i+1))
	}
	return want
}

func TestStateIsPutOutWithTheRecord(t *testing.T) {
	p := build(func(s stream) stream { return failing(errOops)(count("state")(s)) }, pipeline.OnError(pipeline.Skip))
	task := compileTask(t, p, pipeline.TaskConfig{})
	process(t, task, "a", "bad", "b") // all are numbered by then
	expectOutputs(t, task, "state=\x00\x00\x00\x00\x00\x00\x00\x01", "out=3#1",
		"state=\x00\x00\x00\x00\x00\x00\x00\x02", "out=3#2", "state=\x00\x00\x00\x00\x00\x00\x00\x03", "out=3#3")
	for _, o := range task.Outputs() {
		if o.Topic == "state" && o.Partitioner.Partition("state", o.Key, o.Value, 10) != 3 {
			t.Errorf("the state of partition 3 goes to %d", o.Partitioner.Partition("state", o.Key, o.Value, 10))
		}
	}
}

// What goes wrong at any step leaves no number out and gives none twice.
func TestStateSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline { return build(count("state")) },
		Feed: func(c *pipelinetest.Cluster) {
			feed(c, 0, numbered("v", 12)...)
			feed(c, 1, numbered("w", 12)...)
		},
	})
}

// The state goes with the partition: to another worker, back, and over a restart.
func TestStateMoves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := counts(2)
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"))
		feed(c, 0, numbered("v", 5)...)
		settle(time.Second)
		b := c.Start(t.Context(), p, pipelinetest.Instance("b"))
		for i, to := range []string{"b", "a", "b"} {
			c.Move("test", "in", 0, to)
			feed(c, 0, numbered(fmt.Sprint(to, i), 5)...)
			settle(time.Second)
			if owner := c.Owner("test", "in", 0); owner != to {
				t.Fatalf("%q has the partition, not %q", owner, to)
			}
		}
		stop(t, b)
		feed(c, 0, numbered("last", 5)...)
		settle(time.Second)
		stop(t, a)
		expectTexts(t, c, "out", fedNumbers(0, 25)...)
	})
}

// stranger has a transaction open in topic state until told to end it.
func stranger(t *testing.T, c *pipelinetest.Cluster) (end func()) {
	t.Helper()
	p := pipeline.New("stranger")
	pipeline.To(pipeline.From(p, "strange", serde.Bytes()), "state", serde.Bytes(), pipeline.PartitionBy(pipeline.SamePartition))
	release := make(chan struct{})
	c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
		if e.Worker == "stranger" && e.Step == pipelinetest.StepCommit && e.When == pipelinetest.Before {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return nil
	})
	w := c.Start(t.Context(), p, pipelinetest.Instance("stranger"))
	c.Feed("strange", pipelinetest.Bytes([]byte("n"), binary.BigEndian.AppendUint64(nil, 100)).On(0))
	settle(time.Second)
	if len(c.Uncommitted("state")) == 0 || len(c.OpenTransactions()) != 1 {
		t.Fatalf("there is no open transaction: %v", c.OpenTransactions())
	}
	return func() {
		close(release)
		settle(0)
		stop(t, w)
	}
}

// strangers is a cluster with a topic for the stranger, whose transactions last.
func strangers() (*pipeline.Pipeline, *pipelinetest.Cluster) {
	p := build(count("state"))
	return p, pipelinetest.NewCluster(pipelinetest.Config{
		Topics: append(pipelinetest.TopicsOf(p, 2), pipelinetest.Topic{Name: "strange", Partitions: 2}), TransactionTimeout: time.Hour,
	})
}

// A state is read to the end of its log and not to where it is stable: the marker of the
// former owner's transaction may be there later than that of its positions. The stranger's
// stands for it.
func TestRestoreWaitsForWhatIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := strangers()
		end := stranger(t, c)
		feed(c, 0, "v")
		feed(c, 1, "w")
		w := c.Start(t.Context(), p)
		settle(time.Minute)
		expectTexts(t, c, "out", "1#1") // the other partition does not wait
		var restoring *pipeline.Restoring
		for _, cl := range w.Stats().Claims {
			if cl.Restoring != nil {
				restoring = cl.Restoring
			}
		}
		if r := restoring; r == nil || r.Partition != (pipeline.Partition{Topic: "state"}) || r.Next != 0 || r.End != 1 || time.Since(r.Since) < time.Minute {
			t.Errorf("restoring %+v", r)
		}
		end()
		settle(time.Second)
		expectTexts(t, c, "out", "0#101", "1#1")
		for _, cl := range w.Stats().Claims {
			if cl.Restoring != nil {
				t.Errorf("still restoring: %+v", cl.Restoring)
			}
		}
		stop(t, w)
	})
}

// A zombie has changes of the state in its open transaction when another worker takes the
// partition over. That one waits for the end of it, which can only be an abort.
func TestStateOfAZombie(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := counts(1)
		var hold atomic.Bool
		release := make(chan struct{})
		c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
			if e.Worker == "zombie" && e.Step == pipelinetest.StepOffsets && e.When == pipelinetest.Before && hold.Load() {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			return nil
		})
		zombie := c.Start(t.Context(), p, pipelinetest.Instance("zombie"))
		feed(c, 0, numbered("v", 3)...)
		settle(time.Second)
		hold.Store(true)
		feed(c, 0, numbered("w", 3)...)
		settle(time.Second)
		if n := len(c.Uncommitted("state")); n != 6 {
			t.Fatalf("%d changes are written, want 6", n)
		}
		zombie.Freeze()
		heir := c.Start(t.Context(), p, pipelinetest.Instance("heir"))
		settle(5 * time.Second)
		claims := heir.Stats().Claims
		if len(claims) != 1 || claims[0].Restoring == nil || claims[0].Restoring.Next != 4 { // 3 changes and a marker
			t.Errorf("the heir does not wait: %+v", claims)
		}
		close(release)
		zombie.Thaw()
		settle(time.Second)
		feed(c, 0, numbered("x", 3)...)
		settle(time.Second)
		expectTexts(t, c, "out", fedNumbers(0, 9)...)
		stop(t, zombie)
		stop(t, heir)
	})
}

// A partition that is given up, or a pipeline that stops, does not wait for its state.
func TestRestoreIsInterrupted(t *testing.T) {
	for name, act := range map[string]func(t *testing.T, c *pipelinetest.Cluster, w *pipelinetest.Worker){
		"stop": func(t *testing.T, _ *pipelinetest.Cluster, w *pipelinetest.Worker) { stop(t, w) },
		// Most clients say no more than that their context has ended.
		"stop, with an error of the client": func(t *testing.T, c *pipelinetest.Cluster, w *pipelinetest.Worker) {
			stop(t, w)
			c.OnStep(func(ctx context.Context, e pipelinetest.Event) error {
				if e.Step == pipelinetest.StepRestore && e.When == pipelinetest.Before {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
			w = c.Start(t.Context(), build(count("state")))
			settle(time.Second)
			stop(t, w)
		},
		"revoke": func(t *testing.T, c *pipelinetest.Cluster, w *pipelinetest.Worker) {
			other := c.Start(t.Context(), build(count("state")), pipelinetest.Instance("other"))
			c.Move("test", "in", 0, "other")
			settle(time.Second)
			if owner := c.Owner("test", "in", 0); owner != "other" {
				t.Errorf("%q has the partition", owner)
			}
			stop(t, other)
			stop(t, w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := strangers()
				end := stranger(t, c)
				feed(c, 0, "v")
				w := c.Start(t.Context(), p)
				settle(time.Second)
				began := time.Now()
				act(t, c, w)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				end()
			})
		})
	}
}

func TestRestoreGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := strangers()
		end := stranger(t, c)
		feed(c, 0, "v")
		w := c.Start(t.Context(), p)
		began := time.Now()
		if err := w.Wait(); !errors.Is(err, pipeline.ErrStateBlocked) || !strings.Contains(err.Error(), "state[0]") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < 19*time.Minute || took > 21*time.Minute {
			t.Errorf("after %v", took)
		}
		end()
	})
}

func TestStateTopicsAreChecked(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dead"))
	a, b := pipeline.From(p, "a", serde.String()), pipeline.From(p, "b", serde.String())
	keeps := func(s stream, name, topic string) stream {
		return pipeline.ApplyState(s, "keeps", name, topic, func(_ *pipeline.StageContext, next pipeline.Next[string], _ pipeline.Next[[]byte]) pipeline.Next[string] {
			return next
		})
	}
	both := keeps(stages.Merge("both", a, b), "one", "s1")
	pipeline.To(keeps(keeps(keeps(keeps(a, "two", "s2"), "three", "s2"), "four", "a"), "five", "dead"), "s1", serde.String())
	pipeline.To(keeps(both, "six", ""), "out", serde.String())
	err := p.Validate()
	for _, want := range []string{
		`stage "one" keeps state in topic "s1" and is reached from several inputs (["a" "b"])`,
		`topic "s1" is the state of stage "one" and is also written by others`,
		`stages "two" and "three" both keep their state in topic "s2"`,
		`topic "a" is the state of stage "four" and also an input`,
		`topic "dead" is the state of stage "five" and is also written by others`,
		`"" is not a legal topic name`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported by %v", want, err)
		}
	}
}

// A retry topic's partitions have the numbers of the input's, and their state would be one.
func TestStateAndRetryTopics(t *testing.T) {
	for name, retries := range map[string]pipeline.StageOption{
		"RetryTopics": pipeline.RetryTopics(time.Minute), "RetryInOrder": pipeline.RetryInOrder(time.Minute),
	} {
		p := pipeline.New("test", pipeline.DeadLetter("dead"))
		in := pipeline.From(p, "in", serde.String(), retries)
		pipeline.To(stages.Dedupe(in, "dedupe", func(v string) string { return v }, stages.DedupeConfig{Topic: "seen"}), "out", serde.String())
		const want = `stage "dedupe" keeps state in topic "seen" by the partitions of input "in", whose retry topics`
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTooFewStatePartitions(t *testing.T) {
	p := build(count("state"))
	topics := pipelinetest.TopicsOf(p, 4)
	for i := range topics {
		if topics[i].Name == "state" {
			topics[i].Partitions = 3
		}
	}
	err := pipelinetest.NewCluster(pipelinetest.Config{Topics: topics}).Run(t.Context(), p)
	few, ok := errors.AsType[*pipeline.StatePartitionsError](err)
	if !ok || !errors.Is(err, pipeline.ErrInvalid) || few.Have != 3 || few.Need != 4 ||
		!strings.Contains(err.Error(), `topic "state", the state of stage "count", has 3 partitions, and its input "in" has 4`) {
		t.Errorf("got %v", err)
	}
}

func TestStateTopicIsMissing(t *testing.T) {
	p := build(count("state"))
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: []pipelinetest.Topic{{Name: "in"}, {Name: "out"}}})
	if err := c.Run(t.Context(), p); !errors.Is(err, pipeline.ErrMissingTopic) {
		t.Errorf("got %v", err)
	}
}

// stateless hides what else a source can do.
type stateless struct{ pipeline.Source }

// elsewhereWithState is a source on another cluster.
type elsewhereWithState struct {
	elsewhere
	pipeline.StateSource
}

func TestStateNeedsASourceThatReadsIt(t *testing.T) {
	p, c := counts(1)
	source, sink := c.Ends()
	err := pipeline.Run(t.Context(), p, stateless{source}, sink)
	if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), "cannot read the state of stages") {
		t.Errorf("got %v", err)
	}
	source, sink = c.Ends()
	err = pipeline.Run(t.Context(), p, elsewhereWithState{elsewhere{source}, source.(pipeline.StateSource)}, sink, pipeline.Require(pipeline.AtLeastOnce))
	if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), "both must be one cluster") {
		t.Errorf("got %v", err)
	}
}

// A state that cannot be understood ends the run.
func TestRestoreFails(t *testing.T) {
	var restored atomic.Int64
	p := build(func(s stream) stream {
		return pipeline.ApplyState(s, "keeps", "keeps", "state", func(sc *pipeline.StageContext, next pipeline.Next[string], _ pipeline.Next[[]byte]) pipeline.Next[string] {
			sc.Hook(pipeline.Hooks{Assigned: func(ctx context.Context) error {
				return sc.Restore(ctx, func(*pipeline.Raw) error {
					restored.Add(1)
					return errOops
				})
			}})
			return next
		})
	})
	c := pipelinetest.For(p)
	c.Feed("state", pipelinetest.Text("k", "v").On(2), pipelinetest.Text("k", "v").On(2))
	feed(c, 2, "v")
	err := c.Run(t.Context(), p)
	expectStage(t, err, "keeps", errOops)
	if restored.Load() != 1 {
		t.Errorf("apply was called %d times", restored.Load())
	}
}

func TestRestoreWithoutState(t *testing.T) {
	p := build(func(s stream) stream {
		return pipeline.Apply(s, "keeps", "keeps", func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
			sc.Hook(pipeline.Hooks{Assigned: func(ctx context.Context) error {
				return sc.Restore(ctx, func(*pipeline.Raw) error { return nil })
			}})
			return next
		})
	})
	c := pipelinetest.For(p)
	feed(c, 0, "v")
	expectStage(t, c.Run(t.Context(), p), "keeps", pipeline.ErrInvalid)
}
