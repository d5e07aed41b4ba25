package stages_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// play runs values through a pipeline from topic "in" and prints what comes out.
// It stands in for a cluster; package pipelinetest is the way to do this in tests.
func play(p *pipeline.Pipeline, values ...string) {
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, v := range values {
		r := &pipeline.Raw{Key: []byte("k"), Value: []byte(v), Origin: pipeline.Origin{Topic: "in", Offset: int64(i)}}
		if err := task.Process(context.Background(), r); err != nil {
			fmt.Println("error:", err)
		}
	}
	if err := task.BeforeCommit(context.Background()); err != nil {
		fmt.Println("error:", err)
	}
	for _, o := range task.Outputs() {
		fmt.Printf("%s %s=%s\n", o.Topic, o.Key, o.Value)
	}
}

func ExampleMap() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	out := stages.Map(in, "upper", func(s string) (string, error) { return strings.ToUpper(s), nil })
	pipeline.To(out, "out", serde.String())
	play(p, "a", "b")
	// Output:
	// out k=A
	// out k=B
}

func ExampleMapCtx() {
	lookUp := func(ctx context.Context, id string) (string, error) {
		if _, ok := ctx.Deadline(); !ok {
			return "", errors.New("the time-out is missing")
		}
		return "user " + id, nil
	}
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	out := stages.MapCtx(in, "user", lookUp, pipeline.Timeout(time.Second))
	pipeline.To(out, "out", serde.String())
	play(p, "7")
	// Output: out k=user 7
}

func ExampleMapRecord() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	out := stages.MapRecord(in, "rekey", func(_ context.Context, r *pipeline.Record[string]) (pipeline.Record[string], error) {
		out := pipeline.With(r, fmt.Sprintf("%s from %v", r.Value, r.Origin))
		out.Key = []byte("new")
		return out, nil
	})
	pipeline.To(out, "out", serde.String())
	play(p, "a")
	// Output: out new=a from in[0]@0
}

func ExampleFlatMap() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	words := stages.FlatMap(in, "words", func(s string) ([]string, error) { return strings.Fields(s), nil })
	pipeline.To(words, "words", serde.String())
	play(p, "to be", "", "or")
	// Output:
	// words k=to
	// words k=be
	// words k=or
}

func ExampleFlatMapEmit() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	words := stages.FlatMapEmit(in, "words", func(s string, emit func(string)) error {
		for w := range strings.FieldsSeq(s) {
			emit(w)
		}
		return nil
	})
	pipeline.To(words, "words", serde.String())
	play(p, "to be")
	// Output:
	// words k=to
	// words k=be
}

func ExampleFilter() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Filter(in, "long", func(s string) bool { return len(s) > 2 }), "out", serde.String())
	play(p, "a", "long", "b")
	// Output: out k=long
}

func ExampleCheck() {
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.String())
	good := stages.Check(in, "validate", func(s string) error {
		if s == "" {
			return errors.New("empty")
		}
		return nil
	})
	pipeline.To(good, "out", serde.String())
	play(p, "a", "", "b")
	// Output:
	// out k=a
	// in.dlq k=
	// out k=b
}

func ExamplePeek() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	n := 0
	pipeline.To(stages.Peek(in, "count", func(string) { n++ }), "out", serde.String())
	play(p, "a", "b")
	fmt.Println("saw", n)
	// Output:
	// out k=a
	// out k=b
	// saw 2
}

func ExampleKeyBy() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	region := func(s string) string { region, _, _ := strings.Cut(s, ":"); return region }
	pipeline.To(stages.KeyBy(in, "region", region, serde.String()), "out", serde.String())
	play(p, "eu:1", "us:2")
	// Output:
	// out eu=eu:1
	// out us=us:2
}

func ExampleEnrich() {
	users := stages.NewMap(map[string]string{"7": "Anna"})
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.String())
	full := stages.Enrich(in, "user", func(id string) string { return id }, users,
		func(id, name string) string { return id + " is " + name })
	pipeline.To(full, "out", serde.String())
	play(p, "7", "8")
	// Output:
	// out k=7 is Anna
	// in.dlq k=8
}

func ExampleEnrichOptional() {
	users := stages.NewMap(map[string]string{"7": "Anna"})
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	full := stages.EnrichOptional(in, "user", func(id string) string { return id }, users,
		func(id, name string, found bool) string {
			if !found {
				name = "somebody"
			}
			return id + " is " + name
		})
	pipeline.To(full, "out", serde.String())
	play(p, "7", "8")
	// Output:
	// out k=7 is Anna
	// out k=8 is somebody
}

func ExampleCached() {
	slow := stages.TableFunc[string, string](func(_ context.Context, id string) (string, bool, error) {
		fmt.Println("looking up", id)
		return "user " + id, true, nil
	})
	users := stages.Cached(slow, stages.CachedConfig{TTL: 10 * time.Minute, MaxBytes: 16 << 20})

	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	full := stages.Enrich(in, "user", func(id string) string { return id }, users,
		func(_, name string) string { return name })
	pipeline.To(full, "out", serde.String())
	play(p, "7", "7", "8")
	fmt.Println("hits:", users.Stats().Hits)
	// Output:
	// looking up 7
	// looking up 8
	// out k=user 7
	// out k=user 7
	// out k=user 8
	// hits: 1
}

func ExampleTableFunc() {
	// A service that does not answer is marked as retriable: the partition waits
	// and the record never becomes a dead letter.
	unavailable := errors.New("503")
	table := stages.TableFunc[string, string](func(context.Context, string) (string, bool, error) {
		return "", false, pipeline.Retriable(unavailable)
	})
	_, _, err := table.Get(context.Background(), "7")
	fmt.Println(err, pipeline.IsRetriable(err))
	// Output: 503 true
}

func ExampleSplit() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	long, short := stages.Split(in, "long", func(s string) bool { return len(s) > 2 })
	pipeline.To(long, "long", serde.String())
	pipeline.To(short, "short", serde.String())
	play(p, "a", "long")
	// Output:
	// short k=a
	// long k=long
}

func ExampleRoute() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	region := func(s string) string { region, _, _ := strings.Cut(s, ":"); return "orders." + region }
	stages.Route(in, "by-region", region, []string{"orders.eu", "orders.us"}, serde.String())
	play(p, "eu:1", "us:2", "mars:3")
	// Output:
	// error: pipeline "example", stage "by-region", record in[0]@2: topic is not among the declared ones (orders.eu, orders.us)
	// orders.eu k=eu:1
	// orders.us k=us:2
}

func ExampleMerge() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	long, short := stages.Split(in, "long", func(s string) bool { return len(s) > 2 })
	cut := stages.Map(long, "cut", func(s string) (string, error) { return s[:2] + "…", nil })
	pipeline.To(stages.Merge("all", cut, short), "out", serde.String())
	play(p, "a", "long")
	// Output:
	// out k=a
	// out k=lo…
}

func ExampleBatch() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	packed := stages.Batch(in, "pack", stages.BatchConfig{Size: 3}, func(lines []string) ([]string, error) {
		return []string{strings.Join(lines, ",")}, nil // or one call to a service for all of them
	})
	pipeline.To(packed, "packed", serde.String())
	play(p, "a", "b", "c", "d")
	// Output:
	// packed k=a,b,c
	// packed k=d
}

func ExampleBatchByKey() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	account := func(v string) string { return v[:1] }
	last := stages.BatchByKey(in, "last", stages.BatchConfig{Size: 10_000, MaxBytes: 16 << 20}, account,
		func(_ string, states []string) ([]string, error) { return states[len(states)-1:], nil })
	pipeline.To(last, "states", serde.String())
	play(p, "a1", "b1", "a2", "c1", "a3")
	// Output:
	// states k=b1
	// states k=c1
	// states k=a3
}

func ExampleBranch() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	sizes := stages.Branch(in, "size", 3, func(v string) int { return min(len(v), 3) - 1 })
	for i, topic := range []string{"small", "medium", "large"} {
		pipeline.To(sizes[i], topic, serde.String())
	}
	play(p, "bb", "a", "dddd")
	// Output:
	// medium k=bb
	// small k=a
	// large k=dddd
}
