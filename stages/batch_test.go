package stages_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// joined refuses batches with a value "bad".
func joined(values []string) ([]string, error) {
	switch {
	case slices.Contains(values, "bad"):
		return nil, errOops
	case slices.Contains(values, "panic"):
		panic(errOops)
	case slices.Contains(values, "none"):
		return nil, nil
	}
	return []string{strings.Join(values, "+")}, nil
}

func joinedRecords(_ context.Context, batch []record) ([]record, error) {
	var values []string
	for _, r := range batch {
		values = append(values, r.Value)
	}
	out, err := joined(values)
	var records []record
	for _, v := range out {
		r := batch[len(batch)-1]
		r.Value, r.Origin = v, pipeline.Origin{} // the stage puts it back
		records = append(records, r)
	}
	return records, err
}

type batching func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream

// batches has the variants; those by key have one key.
var batches = map[string]batching{
	"Batch": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.Batch(s, "batch", cfg, joined, o...)
	},
	"BatchCtx": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.BatchCtx(s, "batch", cfg, func(_ context.Context, vs []string) ([]string, error) { return joined(vs) }, o...)
	},
	"BatchRecord": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.BatchRecord(s, "batch", cfg, joinedRecords, o...)
	},
	"BatchByKey": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.BatchByKey(s, "batch", cfg, func(string) int { return 1 }, func(_ int, vs []string) ([]string, error) { return joined(vs) }, o...)
	},
	"BatchByKeyCtx": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.BatchByKeyCtx(s, "batch", cfg, func(context.Context, string) (int, error) { return 1, nil },
			func(_ context.Context, _ int, vs []string) ([]string, error) { return joined(vs) }, o...)
	},
	"BatchByKeyRecord": func(s stream, cfg stages.BatchConfig, o ...pipeline.StageOption) stream {
		return stages.BatchByKeyRecord(s, "batch", cfg, func(context.Context, *record) (int, error) { return 1, nil },
			func(ctx context.Context, _ int, rs []record) ([]record, error) { return joinedRecords(ctx, rs) }, o...)
	},
}

func eachBatch(t *testing.T, test func(t *testing.T, build batching)) {
	for name, build := range batches {
		t.Run(name, func(t *testing.T) { test(t, build) })
	}
}

// sent is what a task has put out after each value, and after the commit.
func sent(t *testing.T, task *pipeline.Task, values ...string) []string {
	t.Helper()
	for _, v := range values {
		if err := task.Process(t.Context(), raw(v)); err != nil {
			t.Fatal(err)
		}
	}
	got := texts(task)
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return append(append(got, "commit"), texts(task)[len(got):]...)
}

func TestBatchBySize(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs(pipeline.DeadLetter("dead"))
		to(build(s, stages.BatchConfig{Size: 2}))
		task := compile(t, p, "in")
		expect(t, sent(t, task, "a", "b", "c", "d", "e"), "out=a+b", "out=c+d", "commit", "out=e")
		expectHead(t, task.Outputs()[0])
		task.Clear()
		expect(t, sent(t, task, "f", "g"), "commit", "out=f+g")
		task.Clear()
		expect(t, sent(t, task), "commit")
		expect(t, sent(t, task, "none", "i", "j"), "commit", "out=j")
	})
}

// raw's key and header are 5 bytes, so each value here makes 10.
func TestBatchByBytes(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs()
		to(build(s, stages.BatchConfig{MaxBytes: 25}))
		five := func(v string) string { return strings.Repeat(v, 5) }
		expect(t, sent(t, compile(t, p, "in"), five("a"), five("b"), five("c"), strings.Repeat("d", 100), five("e"), five("f"), "g"),
			"out=aaaaa+bbbbb", "out=ccccc", "out="+strings.Repeat("d", 100), "out=eeeee+fffff", "commit", "out=g")
	})
}

func TestBatchFails(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs(pipeline.DeadLetter("dead"))
		to(build(s, stages.BatchConfig{Size: 2}))
		pipeline.To(s, "direct", serde.String())
		expect(t, sent(t, compile(t, p, "in"), "a", "b", "bad", "c", "d", "panic", "e", "bad"),
			"direct=a", "direct=b", "out=a+b", "dead=bad", "dead=c", "dead=d", "dead=panic", "commit", "dead=e", "dead=bad")
	})
}

func TestBatchIsSkipped(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs(pipeline.OnError(pipeline.Skip))
		to(build(s, stages.BatchConfig{Size: 2}))
		expect(t, sent(t, compile(t, p, "in"), "a", "bad", "b"), "commit", "out=b")
	})
}

func TestBatchStopsThePipeline(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs()
		to(build(s, stages.BatchConfig{}))
		task := compile(t, p, "in")
		if err := task.Process(t.Context(), raw("bad")); err != nil {
			t.Fatal(err)
		}
		err := task.BeforeCommit(t.Context())
		if se, ok := errors.AsType[*pipeline.StageError](err); !ok || se.Stage != "batch" || !errors.Is(err, errOops) {
			t.Errorf("got %v", err)
		}
	})
}

// A record that fails past the batch is not in it, and one of the batch that fails below
// takes it along.
func TestBatchBesideAnotherBranch(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs(pipeline.DeadLetter("dead"))
		refuse := func(s stream, name string, bad ...string) stream {
			return stages.Check(s, name, func(v string) error {
				if slices.Contains(bad, v) {
					return errOops
				}
				return nil
			})
		}
		to(refuse(build(s, stages.BatchConfig{Size: 3}), "below", "d+e"))
		pipeline.To(refuse(s, "past", "b", "f"), "direct", serde.String())
		expect(t, sent(t, compile(t, p, "in"), "a", "b", "c", "d", "e", "f", "g"),
			"direct=a", "dead=b", "direct=c", "out=a+c", "dead=d", "dead=e", "dead=f", "commit", "direct=g", "out=g")
	})
}

func TestBatchIsTriedAgain(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		synctest.Test(t, func(t *testing.T) {
			p, s := strs(pipeline.DeadLetter("dead"))
			to(build(s, stages.BatchConfig{Size: 2}, pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{Initial: time.Second}, pipeline.ToDeadLetter))))
			start := time.Now()
			expect(t, sent(t, compile(t, p, "in"), "a", "bad", "b"), "dead=a", "dead=bad", "commit", "out=b")
			if d := time.Since(start); d < 1600*time.Millisecond || d > 3*time.Second {
				t.Errorf("took %v, want waits of about 1 s and 1 s", d)
			}
		})
	})
}

// A batch that an abort has torn comes again.
func TestBatchIsAborted(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs()
		to(build(s, stages.BatchConfig{Size: 3}))
		task := compile(t, p, "in")
		for _, v := range []string{"a", "b"} {
			if err := task.Process(t.Context(), raw(v)); err != nil {
				t.Fatal(err)
			}
		}
		task.Aborted()
		expect(t, sent(t, task, "a", "b", "c", "d"), "out=a+b+c", "commit", "out=d")
	})
}

// A batch that waits for a service when the pipeline stops comes again, with all of its
// records, at the next start.
func TestStopWhileABatchWaits(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		synctest.Test(t, func(t *testing.T) {
			down := true
			whole := func() *pipeline.Pipeline {
				p, s := strs()
				service := stages.Check(build(s, stages.BatchConfig{Size: 2}), "service", func(string) error {
					if down {
						return pipeline.Retriable(errOops)
					}
					return nil
				})
				to(service)
				pipeline.To(s, "direct", serde.String())
				return p
			}
			p := whole()
			c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
			for _, v := range []string{"a", "b", "c"} {
				c.Feed("in", pipelinetest.Text("k", v))
			}
			w := c.Start(t.Context(), p)
			time.Sleep(10 * time.Second) // fake time
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
			down = false
			if err := c.Run(t.Context(), whole()); err != nil {
				t.Fatal(err)
			}
			expect(t, pipelinetest.Values(c, "out", serde.String()), "a+b", "c")
			expect(t, pipelinetest.Values(c, "direct", serde.String()), "a", "b", "c")
		})
	})
}

// The parts of a record are counted as records, and go on when the record is through.
func TestBatchOfParts(t *testing.T) {
	eachBatch(t, func(t *testing.T, build batching) {
		p, s := strs(pipeline.DeadLetter("dead"))
		to(build(stages.FlatMap(s, "words", words), stages.BatchConfig{Size: 2}))
		pipeline.To(stages.Check(s, "past", func(v string) error {
			if v == "x y z" {
				return errOops
			}
			return nil
		}), "direct", serde.String())
		expect(t, sent(t, compile(t, p, "in"), "a", "b c d e", "f", "x y z", "g"),
			"direct=a", "direct=b c d e", "out=a+b", "out=c+d", "direct=f", "out=e+f", "dead=x y z", "commit", "direct=g", "out=g")

		p, s = strs(pipeline.DeadLetter("dead"))
		to(build(stages.FlatMap(s, "words", words), stages.BatchConfig{Size: 2}))
		expect(t, sent(t, compile(t, p, "in"), "a", "b c d e f none", "g", "h i panic j k"),
			"out=a+b", "out=c+d", "out=e+f", "commit", "dead=h i panic j k")
	})
}

func TestBatchConfigIsChecked(t *testing.T) {
	for _, cfg := range []stages.BatchConfig{{Size: -1}, {MaxBytes: -1}} {
		eachBatch(t, func(t *testing.T, build batching) {
			p, s := strs()
			to(build(s, cfg))
			if err := p.Validate(); !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), `stage "batch"`) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBatchByKey(t *testing.T) {
	first := func(v string) string { return v[:1] }
	var calls []string
	byKey := func(s stream) stream {
		return stages.BatchByKey(s, "batch", stages.BatchConfig{Size: 5}, first, func(k string, vs []string) ([]string, error) {
			calls = append(calls, k)
			if slices.Contains(vs, "b!") {
				return nil, errOops
			}
			return []string{strings.Join(vs, "+")}, nil
		})
	}
	p, s := strs(pipeline.DeadLetter("dead"))
	to(byKey(s))
	expect(t, sent(t, compile(t, p, "in"), "b1", "a1", "c1", "a2", "b2", "a3", "b!", "c3"),
		"out=c1", "out=a1+a2", "out=b1+b2", "commit", "out=a3", "dead=b!", "out=c3")
	if got := strings.Join(calls, ""); got != "bacabc" {
		t.Errorf("the function was called for %s", got)
	}

	// Two keys that have parts of one record fail together.
	p, s = strs(pipeline.DeadLetter("dead"))
	to(byKey(stages.FlatMap(s, "words", words)))
	expect(t, sent(t, compile(t, p, "in"), "a1", "a2 b!", "c1", "b2"), "commit", "dead=a1", "dead=a2 b!", "out=c1", "dead=b2")
}

// Whatever goes wrong, each record is in one batch that is committed, and in its order.
// Where batches end is not the same in each run.
func TestEveryStepWithBatches(t *testing.T) {
	for _, name := range []string{"Batch", "BatchByKey"} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.EveryStep(t, pipelinetest.Scenario{
				Build: func() *pipeline.Pipeline {
					p, s := strs(pipeline.DeadLetter("dead"))
					once := batches[name](s, stages.BatchConfig{Size: 4})
					again := stages.Batch(once, "again", stages.BatchConfig{Size: 2}, joined)
					members := stages.FlatMap(again, "members", func(v string) ([]string, error) { return strings.Split(v, "+"), nil })
					pipeline.To(members, "members", serde.String())
					pipeline.To(s, "direct", serde.String())
					return p
				},
				Feed: func(c *pipelinetest.Cluster) {
					for i := range 24 {
						c.Feed("in", pipelinetest.Text("k", fmt.Sprintf("%d-%02d", i%2, i)).On(int32(i%2)))
					}
				},
				OnlyCheck: true,
				Check: func(c *pipelinetest.Cluster) error {
					for _, topic := range []string{"members", "direct"} {
						of := map[string][]string{} // input partitions
						for _, v := range pipelinetest.Values(c, topic, serde.String()) {
							of[v[:1]] = append(of[v[:1]], v)
						}
						if len(of) != 2 {
							return fmt.Errorf("topic %s has %v", topic, of)
						}
						for part, values := range of {
							if !slices.IsSorted(values) || len(slices.Compact(values)) != 12 {
								return fmt.Errorf("topic %s has of partition %s: %q", topic, part, values)
							}
						}
					}
					return nil
				},
			})
		})
	}
}

// A record that waits in a batch costs one allocation, its Held, and a batch a few.
func TestAllocationsOfABatch(t *testing.T) {
	const size, records = 100, 1000
	for name, build := range map[string]func(s pipeline.Stream[sample]) pipeline.Stream[sample]{
		"Batch": func(s pipeline.Stream[sample]) pipeline.Stream[sample] {
			return stages.Batch(s, "batch", stages.BatchConfig{Size: size}, func(vs []sample) ([]sample, error) { return vs[:1], nil })
		},
		"BatchByKey": func(s pipeline.Stream[sample]) pipeline.Stream[sample] {
			return stages.BatchByKey(s, "batch", stages.BatchConfig{Size: size}, func(v sample) int64 { return v.ID }, func(_ int64, vs []sample) ([]sample, error) { return vs[:1], nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pipeline.New("test")
			pipeline.To(build(pipeline.From(p, "in", sampleSerde{})), "out", sampleSerde{})
			task, r := compile(t, p, "in"), benchRecord()
			n := testing.AllocsPerRun(5, func() {
				for range records {
					if err := task.Process(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				if err := task.BeforeCommit(t.Context()); err != nil {
					t.Fatal(err)
				}
				task.Clear()
			})
			if limit := records * 1.2; n > limit {
				t.Errorf("%v allocations for %d records in batches of %d, want at most %v", n, records, size, limit)
			} else {
				t.Logf("%v allocations for %d records in batches of %d", n, records, size)
			}
		})
	}
}

func TestEveryStepWithBranches(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := strs(pipeline.DeadLetter("dead"))
			for i, b := range stages.Branch(s, "by digit", 3, func(v string) int { return int(v[len(v)-1]-'0') % 4 }) {
				pipeline.To(b, fmt.Sprint("out", i), serde.String())
			}
			return p
		},
		Feed: func(c *pipelinetest.Cluster) {
			for i := range 12 {
				c.Feed("in", pipelinetest.Text(fmt.Sprint("k", i), fmt.Sprint("v", i)))
			}
		},
	})
}

// The sink refuses what a batch has put out, and takes what a single one would: it is the
// error of each member all the same, and of no other record.
func TestBatchThatTheSinkRefuses(t *testing.T) {
	for _, guarantee := range []pipeline.Guarantee{pipeline.ExactlyOnce, pipeline.AtLeastOnce} {
		inBubble(t, func(t *testing.T) {
			p, s := strs(pipeline.DeadLetter("dlq"))
			to(stages.Batch(s, "batch", stages.BatchConfig{Size: 3}, joined))
			long := strings.Repeat("x", 200)
			values := []string{"a", "b", "c", "d", long, "e", "f", "g", "h"}
			c := pipelinetest.NewCluster(pipelinetest.Config{Topics: []pipelinetest.Topic{
				{Name: "in", Partitions: 1}, {Name: "out", Partitions: 1, MaxMessageBytes: 250}, {Name: "dlq", Partitions: 1},
			}})
			for _, v := range values {
				c.Feed("in", pipelinetest.Text("k", v))
			}
			stats := pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Require(guarantee)))
			expectEqual(t, "out", valuesIn(c, "out"), []string{"a+b+c", "f+g+h"})
			expectEqual(t, "dlq", valuesIn(c, "dlq"), []string{"d", long, "e"})
			if stats.Aborts > 1 {
				t.Errorf("%d aborts, want 1 at most", stats.Aborts)
			}
		})
	}
}
