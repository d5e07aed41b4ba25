package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// elsewhere is a source whose data is of another cluster.
type elsewhere struct{ pipeline.Source }

func (s elsewhere) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	terms, err := s.Source.Open(ctx, spec)
	terms.Cluster = "another"
	return terms, err
}

// weak is a source that cannot keep positions in a transaction.
type weak struct{ pipeline.Source }

func (s weak) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	terms, err := s.Source.Open(ctx, spec)
	terms.Guarantee = pipeline.AtLeastOnce
	return terms, err
}

// plainSink is a sink without transactions.
type plainSink struct{ pipeline.Sink }

// What source and sink cannot promise together is refused before anything starts.
func TestRequire(t *testing.T) {
	for name, test := range map[string]struct {
		ends func(pipeline.Source, pipeline.Sink) (pipeline.Source, pipeline.Sink)
		opts []pipeline.RunOption
		err  error
		says string
	}{
		"no transactions": {
			ends: func(a pipeline.Source, b pipeline.Sink) (pipeline.Source, pipeline.Sink) { return a, plainSink{b} },
			err:  pipeline.ErrGuarantee, says: "pipeline.Require(pipeline.AtLeastOnce)",
		},
		"two clusters": {
			ends: func(a pipeline.Source, b pipeline.Sink) (pipeline.Source, pipeline.Sink) { return elsewhere{a}, b },
			err:  pipeline.ErrGuarantee, says: `reads "another"`,
		},
		"weak source": {
			ends: func(a pipeline.Source, b pipeline.Sink) (pipeline.Source, pipeline.Sink) { return weak{a}, b },
			err:  pipeline.ErrGuarantee, says: "the source gives at-least-once",
		},
		"no such guarantee": {
			opts: []pipeline.RunOption{pipeline.Require(7)}, err: pipeline.ErrInvalid, says: "no such guarantee",
		},
		"no interval": {
			opts: []pipeline.RunOption{pipeline.CommitEvery(-1, 0, 0), pipeline.StopWithin(-1)}, err: pipeline.ErrInvalid, says: "StopWithin",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(1, asIs)
				source, sink := c.Ends()
				if test.ends != nil {
					source, sink = test.ends(source, sink)
				}
				err := pipeline.Run(t.Context(), p, source, sink, test.opts...)
				if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %v with %q", err, test.err, test.says)
				}
				if trace := c.Trace(); len(trace) > 0 {
					t.Errorf("it came as far as %v", trace)
				}
			})
		})
	}
}

func TestWeakerGuaranteesAreKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		source, sink := c.Ends()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := pipeline.Run(ctx, p, elsewhere{source}, plainSink{sink}, pipeline.Require(pipeline.AtLeastOnce)); err != nil {
			t.Error(err)
		}
		expectTexts(t, c, "out", "v")
	})
}

func TestTablesNeedASourceThatReadsThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := named()
		source, sink := pipelinetest.For(p).Ends()
		if err := pipeline.Run(t.Context(), p, weak{source}, sink); !errors.Is(err, pipeline.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
}

// Topics are never made by accident.
func TestMissingTopics(t *testing.T) {
	p, _ := named()
	for _, missing := range []string{"in", "names", "out", "dlq"} {
		t.Run(missing, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var topics []pipelinetest.Topic
				for _, topic := range pipelinetest.TopicsOf(p, 1) {
					if topic.Name != missing {
						topics = append(topics, topic)
					}
				}
				c := pipelinetest.NewCluster(pipelinetest.Config{Topics: topics})
				if err := c.Run(t.Context(), p); !errors.Is(err, pipeline.ErrMissingTopic) || !strings.Contains(err.Error(), missing) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// Retries that outlast a time-out of the cluster are found before the start.
func TestRetriesAreComparedWithTheClustersTimeouts(t *testing.T) {
	retry := pipeline.OnError(pipeline.Retry(30, pipeline.Backoff{Initial: time.Second}, pipeline.Fail))
	inBubble(t, func(t *testing.T) {
		p := build(failing(errOops, retry))
		err := pipelinetest.For(p).Run(t.Context(), p)
		if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), "transaction time-out (15s)") {
			t.Errorf("got %v", err)
		}
	})
	inBubble(t, func(t *testing.T) {
		p := build(failing(errOops, retry))
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1), TransactionTimeout: time.Minute, RebalanceTimeout: 20 * time.Second})
		err := c.Run(t.Context(), p)
		if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), "rebalance time-out (20s)") {
			t.Errorf("got %v", err)
		}
	})
}

// prepared is a serde that does a look-up at the start.
type prepared struct {
	serde.Serde[string]
	prepare func(context.Context, pipeline.Slot, bool) error
}

func (s prepared) Prepare(ctx context.Context, at pipeline.Slot, encode bool) error {
	return s.prepare(ctx, at, encode)
}

func preparing(prepare func(context.Context, pipeline.Slot, bool) error) *pipeline.Pipeline {
	p := pipeline.New("test")
	s := serde.Serde[string](prepared{serde.String(), prepare})
	pipeline.To(pipeline.From(p, "in", s), "out", s)
	return p
}

func TestPrepare(t *testing.T) {
	t.Run("every slot", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			var slots []string
			p := preparing(func(_ context.Context, at pipeline.Slot, encode bool) error {
				slots = append(slots, map[bool]string{false: "read ", true: "write "}[encode]+at.Topic)
				return nil
			})
			if err := pipelinetest.For(p).Run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(slots, ", "); got != "read in, write out" {
				t.Errorf("prepared %s", got)
			}
		})
	})
	t.Run("a registry that is down for a while", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			began := time.Now()
			p := preparing(func(context.Context, pipeline.Slot, bool) error {
				if time.Since(began) < 20*time.Second {
					return pipeline.Retriable(errOops)
				}
				return nil
			})
			if err := pipelinetest.For(p).Run(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a registry that stays down", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			began := time.Now()
			p := preparing(func(context.Context, pipeline.Slot, bool) error { return pipeline.Retriable(errOops) })
			c := pipelinetest.For(p)
			if err := c.Run(t.Context(), p); !errors.Is(err, errOops) || !strings.Contains(err.Error(), `input "in"`) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took != 30*time.Second {
				t.Errorf("it took %v, want 30 s", took)
			}
			if len(c.Trace()) > 0 {
				t.Error("the pipeline was started")
			}
		})
	})
	t.Run("any other error", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			began := time.Now()
			p := preparing(func(context.Context, pipeline.Slot, bool) error { return errOops })
			if err := pipelinetest.For(p).Run(t.Context(), p); !errors.Is(err, errOops) || time.Since(began) > 0 {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("stopped meanwhile", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := preparing(func(context.Context, pipeline.Slot, bool) error { return pipeline.Retriable(errOops) })
			w := pipelinetest.For(p).Start(t.Context(), p)
			settle(5 * time.Second)
			if err := w.Stop(); err != nil {
				t.Errorf("whoever stops a pipeline gets no error, but got %v", err)
			}
		})
	})
}

func TestStats(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var stats pipeline.Stats
		p, c := engine(2, calls(bad))
		w := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.Observe(&stats)))
		feed(c, 0, "aa", "bad")
		c.Feed("in", pipelinetest.Text("k", "bbb").On(1))
		settle(time.Second)
		s := stats.Snapshot()
		if s.Records != 3 || s.InputBytes != 4+6+4 || s.Outputs != 2 || s.OutputBytes != 4+4 || s.DeadLetters != 1 ||
			s.DeadLettersByStage["calls"] != 1 || s.Committed != 3 || s.Commits == 0 || s.Aborts != 0 || s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
		if len(s.Partitions) != 2 || !s.LastCommit.Equal(c.Commits()[len(c.Commits())-1].Time) {
			t.Errorf("partitions %v, last commit %v", s.Partitions, s.LastCommit)
		}
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable},
			pipelinetest.Fault{Step: pipelinetest.StepCommit, N: 2, Kind: pipelinetest.Ambiguous, When: pipelinetest.After})
		feed(c, 0, "cc")
		settle(time.Second)
		feed(c, 0, "dd")
		settle(5 * time.Second)
		s = stats.Snapshot()
		// The ambiguous one's records are not known to be committed.
		if s.Aborts != 1 || s.Committed > 5 || s.Committed < 4 || s.Sessions != 2 || s.Recoveries != 2 {
			t.Errorf("%+v", s)
		}
		stop(t, w)
		if s = stats.Snapshot(); len(s.Partitions) != 0 {
			t.Errorf("after the end it has %v", s.Partitions)
		}
	})
}
