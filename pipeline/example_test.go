package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// play runs values through a pipeline's input topic and prints what comes out. It
// stands in for Run and a cluster.
func play(p *pipeline.Pipeline, topic string, values ...string) {
	task, err := p.Compile(pipeline.Partition{Topic: topic}, pipeline.TaskConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, v := range values {
		r := &pipeline.Raw{Key: []byte("k"), Value: []byte(v), Origin: pipeline.Origin{Topic: topic, Offset: int64(i)}}
		if err := task.Process(context.Background(), r); err != nil {
			fmt.Println("error:", err)
			return
		}
	}
	if err := task.BeforeCommit(context.Background()); err != nil {
		fmt.Println("error:", err)
		return
	}
	for _, o := range task.Outputs() {
		fmt.Printf("%s: %s=%s\n", o.Topic, o.Key, o.Value)
	}
}

func noEmpty(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	return nil
}

// A pipeline is data: it can be validated, drawn and compiled without a broker.
func Example() {
	p := pipeline.New("shout", pipeline.DeadLetter("words.dlq"))
	words := pipeline.From(p, "words", serde.String())
	valid := stages.Check(words, "validate", noEmpty)
	loud := stages.Map(valid, "shout", func(s string) (string, error) { return strings.ToUpper(s) + "!", nil })
	pipeline.To(loud, "shouts", serde.String())

	fmt.Println(p.Validate())
	play(p, "words", "hello", "", "world")
	// Output:
	// <nil>
	// shouts: k=HELLO!
	// words.dlq: k=
	// shouts: k=WORLD!
}

func ExampleNew() {
	p := pipeline.New("orders-by-region", pipeline.DeadLetter("orders.dlq"), pipeline.DeadLetterLimit(100))
	fmt.Println(p.Name(), p.DeadLetterTopic())
	// Output: orders-by-region orders.dlq
}

func ExampleFrom() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.JSON[int]())
	pipeline.To(in, "out", serde.JSON[int]())
	play(p, "in", "1", "two")
	// Output: error: pipeline "example", stage "in", record in[0]@1: decode json: malformed: syntax, at byte 2
}

// Using a stream twice is a branch: both consumers see every record.
func ExampleStream() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(in, "copy", serde.String())
	pipeline.To(stages.Filter(in, "long", func(s string) bool { return len(s) > 2 }), "long", serde.String())
	play(p, "in", "a", "long")
	// Output:
	// copy: k=a
	// copy: k=long
	// long: k=long
}

func ExampleTo() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(in, "out", serde.JSON[string](), pipeline.AddHeader("format", []byte("json")))
	play(p, "in", "a")
	// Output: out: k="a"
}

func ExampleToEach() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	byTrace := func(r *pipeline.Record[string]) string {
		if _, ok := r.Headers.Get("traceparent"); ok {
			return "traced"
		}
		return "plain"
	}
	pipeline.ToEach(in, "by-trace", byTrace, []string{"plain", "traced"}, serde.String())
	play(p, "in", "a")
	// Output: plain: k=a
}

// Through writes to a topic that exists and reads it back: records with the same
// key meet in one partition.
func ExampleThrough() {
	p := pipeline.New("example")
	byUser := stages.KeyBy(pipeline.From(p, "clicks", serde.String()), "user",
		func(s string) string { return s[:1] }, serde.String())
	pipeline.To(pipeline.Through(byUser, "clicks.by-user", serde.String()), "out", serde.String())
	fmt.Println(p.Inputs(), p.Outputs())
	play(p, "clicks", "a1")
	play(p, "clicks.by-user", "a1")
	// Output:
	// [clicks clicks.by-user] [clicks.by-user out]
	// clicks.by-user: a=a1
	// out: k=a1
}

func ExampleTable() {
	p := pipeline.New("example", pipeline.DeadLetter("orders.dlq"))
	customers := pipeline.Table(p, "customers", serde.String(), serde.String())
	orders := pipeline.From(p, "orders", serde.String())
	full := stages.Enrich(orders, "customer", func(id string) string { return id }, customers,
		func(id, name string) string { return id + ":" + name })
	pipeline.To(full, "full", serde.String())
	fmt.Print(p.Describe())
	// Output:
	// pipeline example (on error: dead-letter, dead letters to orders.dlq)
	// table customers
	// input orders
	//   enrich customer (reads customers)
	//     output full
}

func ExampleTombstones() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String(), pipeline.Tombstones(pipeline.Skip))
	pipeline.To(in, "out", serde.String())
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = task.Process(context.Background(), &pipeline.Raw{Key: []byte("k")}) // a null value
	fmt.Println(len(task.Outputs()), err)
	// Output: 0 <nil>
}

func ExampleHeaders() {
	h := pipeline.Headers{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}
	more := h.Add("b", []byte("3"))
	last, _ := more.Get("a")
	one := more.Set("a", []byte("4"))
	fmt.Println(len(h), len(more), string(last), len(one))
	for _, x := range one {
		fmt.Printf("%s=%s\n", x.Key, x.Value)
	}
	// Output:
	// 2 3 2 2
	// b=3
	// a=4
}

func ExampleWith() {
	r := &pipeline.Record[string]{Key: []byte("k"), Value: "42", Origin: pipeline.Origin{Topic: "in", Offset: 7}}
	n := pipeline.With(r, 42)
	fmt.Printf("%s %d %v\n", n.Key, n.Value, n.Origin)
	// Output: k 42 in[0]@7
}

// The policy of a stage goes before that of the pipeline.
func ExampleOnError() {
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq")) // the pipeline's: dead-letter
	in := pipeline.From(p, "in", serde.String())
	short := stages.Check(in, "short", func(s string) error {
		if len(s) > 3 {
			return errors.New("too long")
		}
		return nil
	})
	full := stages.Check(short, "full", noEmpty, pipeline.OnError(pipeline.Skip))
	pipeline.To(full, "out", serde.String())
	play(p, "in", "a", "", "long")
	// Output:
	// out: k=a
	// in.dlq: k=long
}

func ExampleRetry() {
	tries := 0
	flaky := func(context.Context, string) error {
		if tries++; tries < 3 {
			return errors.New("try again")
		}
		return nil
	}
	policy := pipeline.Retry(5, pipeline.Backoff{Initial: time.Millisecond}, pipeline.ToDeadLetter)

	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.CheckCtx(in, "flaky", flaky, pipeline.OnError(policy)), "out", serde.String())
	play(p, "in", "a")
	fmt.Println(policy, "took", tries, "tries")
	// Output:
	// out: k=a
	// retry 5, then dead-letter took 3 tries
}

// The dead letter is the raw record with headers that say where it failed and why.
func ExampleDeadLetter() {
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Check(in, "validate", noEmpty), "out", serde.String())

	task, err := p.Compile(pipeline.Partition{Topic: "in", Partition: 2}, pipeline.TaskConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &pipeline.Raw{
		Value: []byte{}, Headers: pipeline.Headers{{Key: "mine", Value: []byte("kept")}}, Timestamp: time.UnixMilli(1000),
		Origin: pipeline.Origin{Topic: "in", Partition: 2, Offset: 7},
	}
	if err := task.Process(context.Background(), r); err != nil {
		fmt.Println(err)
	}
	for _, o := range task.Outputs() {
		fmt.Println(o.Topic)
		for _, h := range o.Headers {
			fmt.Printf("  %s: %s\n", h.Key, h.Value)
		}
	}
	// Output:
	// in.dlq
	//   mine: kept
	//   leat.pipeline: example
	//   leat.stage: validate
	//   leat.error: empty
	//   leat.topic: in
	//   leat.partition: 2
	//   leat.offset: 7
	//   leat.timestamp: 1000
}

// An error that passes makes the partition wait; one that is everyone's fails the
// pipeline. Neither becomes a dead letter.
func ExampleRetriable() {
	err := fmt.Errorf("look up: %w", pipeline.Retriable(errors.New("503")))
	fmt.Println(err, pipeline.IsRetriable(err), pipeline.IsFatal(err))
	err = pipeline.Fatal(errors.New("401"))
	fmt.Println(err, pipeline.IsRetriable(err), pipeline.IsFatal(err))
	// Output:
	// look up: 503 true false
	// 401 false true
}

// The first middleware is the outermost.
func ExampleUse() {
	mark := func(name string) pipeline.Middleware {
		return func(next pipeline.Handler) pipeline.Handler {
			return func(ctx context.Context, r *pipeline.Raw) error {
				fmt.Println("into", name)
				defer fmt.Println("out of", name)
				return next(ctx, r)
			}
		}
	}
	p := pipeline.New("example", pipeline.Use(mark("first"), mark("second")))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Peek(in, "peek", func(string) { fmt.Println("chain") }), "out", serde.String())
	play(p, "in", "a")
	// Output:
	// into first
	// into second
	// chain
	// out of second
	// out of first
	// out: k=a
}

func ExamplePartitionBy() {
	byCRC := pipeline.PartitionerFunc(func(_ string, key, _ []byte, partitions int32) int32 {
		if key == nil {
			return pipeline.AnyPartition
		}
		return int32(crc32.ChecksumIEEE(key) % uint32(partitions))
	})
	p := pipeline.New("example")
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String(), pipeline.PartitionBy(byCRC))
	fmt.Println(byCRC.Partition("out", []byte("k"), nil, 4), byCRC.Partition("out", nil, nil, 4))
	// Output: 1 -1
}

// Every mistake is reported at once.
func ExamplePipeline_Validate() {
	p := pipeline.New("example", pipeline.OnError(pipeline.ToDeadLetter))
	in := pipeline.From(p, "in", serde.String())
	stages.Filter(in, "loose", func(string) bool { return true })
	fmt.Println(p.Validate())
	// Output:
	// invalid configuration: pipeline "example":
	//   the policy is dead-letter, but no topic is named; add pipeline.DeadLetter(topic) to New
	//   the stream of "loose" has no consumer; end it with pipeline.To
}

func ExamplePipeline_Describe() {
	p := pipeline.New("example")
	long, short := stages.Split(pipeline.From(p, "in", serde.String()), "long", func(s string) bool { return len(s) > 2 })
	pipeline.To(long, "long", serde.String())
	pipeline.To(short, "short", serde.String())
	fmt.Print(p.Describe())
	// Output:
	// pipeline example (on error: fail)
	// input in
	//   split long
	//     branch 1:
	//       output long
	//     branch 2:
	//       output short
}

func ExamplePipeline_Mermaid() {
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Check(in, "validate", noEmpty), "out", serde.String())
	fmt.Print(p.Mermaid())
	// Output:
	// flowchart TD
	//   n0[("in<br/>input")]
	//   n1["validate<br/>check"]
	//   n2[("out<br/>output")]
	//   n0 --> n1
	//   n1 --> n2
}

// Apply is how a new kind of stage is written: this one drops a value that equals
// the one before. What it allocates belongs to one partition's chain.
func ExampleApply() {
	changes := func(sc *pipeline.StageContext, next pipeline.Next[string]) pipeline.Next[string] {
		var last, handedOver, committed string
		sc.Hook(pipeline.Hooks{
			BeforeCommit: func(context.Context) error { handedOver = last; return nil },
			Committed:    func() { committed = handedOver },
			Aborted:      func() { last = committed }, // or a replay would drop records
		})
		return func(ctx context.Context, r *pipeline.Record[string]) error {
			if r.Value == last {
				return nil
			}
			last = r.Value
			return next(ctx, r)
		}
	}
	p := pipeline.New("example")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(pipeline.Apply(in, "changes", "changes", changes), "out", serde.String())
	play(p, "in", "a", "a", "b")
	// Output:
	// out: k=a
	// out: k=b
}

// Guard gives a stage of one's own the retries, the time-out and the error policy
// that every stage has.
func ExampleGuard() {
	double := func(sc *pipeline.StageContext, next pipeline.Next[int]) pipeline.Next[int] {
		out := new(pipeline.Record[int])
		run := pipeline.Guard(sc, func(_ context.Context, n int) (int, error) {
			if n < 0 {
				return 0, errors.New("negative")
			}
			return 2 * n, nil
		})
		return func(ctx context.Context, r *pipeline.Record[int]) error {
			n, err := run(ctx, r.Value)
			if err != nil {
				return err
			}
			*out = pipeline.With(r, n)
			return next(ctx, out)
		}
	}
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.JSON[int]())
	pipeline.To(pipeline.Apply(in, "double", "double", double, pipeline.OneToOne()), "out", serde.JSON[int]())
	play(p, "in", "1", "-1", "2")
	// Output:
	// out: k=2
	// in.dlq: k=-1
	// out: k=4
}

// A middleware that waits: what stands before the record is committed meanwhile.
func ExamplePause() {
	p := pipeline.New("example", pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if err := pipeline.Pause(ctx, time.Millisecond); err != nil {
				return err
			}
			return next(ctx, r)
		}
	}))
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	play(p, "in", "a")
	// Output: out: k=a
}

// A middleware that makes an error of a panic. Package middleware has it as Recover.
func ExampleRecovered() {
	p := pipeline.New("example", pipeline.OnError(pipeline.Skip), pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = pipeline.Recovered(ctx, v)
				}
				fmt.Println(err)
			}()
			return next(ctx, r)
		}
	}))
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Peek(in, "buggy", func(string) { panic("a bug") }), "out", serde.String())
	play(p, "in", "a")
	// Output: panic: a bug
}

// A package's own option reports what is wrong with it when the pipeline is validated.
func ExampleInvalid() {
	atMost := func(n int) pipeline.Option {
		if n < 1 {
			return pipeline.Invalid(errors.New("atMost: use at least 1"))
		}
		return pipeline.Use()
	}
	p := pipeline.New("example", atMost(0))
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	fmt.Println(p.Validate())
	// Output:
	// invalid configuration: pipeline "example":
	//   atMost: use at least 1
}
