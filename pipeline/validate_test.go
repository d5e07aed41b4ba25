package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

type badSerde struct{ serde.Serde[string] }

func (badSerde) Validate() error { return errOops }

func pass(s stream, name string, opts ...pipeline.StageOption) stream {
	return stages.Filter(s, name, func(string) bool { return true }, opts...)
}

// mistakes has a pipeline for each mistake, and what Validate must say of it. Each
// is built into a pipeline that has an input "in" which ends in "out".
var mistakes = []struct {
	name  string
	opts  []pipeline.Option
	build func(p *pipeline.Pipeline, in stream)
	want  string
}{
	{"a stream without a consumer", nil, func(_ *pipeline.Pipeline, in stream) { pass(in, "loose") },
		`the stream of "loose" has no consumer`},
	{"an input without a consumer", nil, func(p *pipeline.Pipeline, _ stream) { pipeline.From(p, "unread", serde.String()) },
		`the stream of "unread" has no consumer`},
	{"a branch without a consumer", nil, func(_ *pipeline.Pipeline, in stream) {
		yes, _ := stages.Split(in, "split", func(string) bool { return true })
		pipeline.To(yes, "yes", serde.String())
	}, `the stream of "split" (branch 2 of 2) has no consumer`},
	{"a stage whose maker found a mistake", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "pass", pipeline.Invalid(errOops)), "out", serde.String())
	}, `stage "pass": oops`},
	{"a stage without branches", nil, func(_ *pipeline.Pipeline, in stream) {
		stages.Branch(in, "branch", 0, func(string) int { return 0 })
	}, `stage "branch" has 0 branches`},
	{"two stages of one name", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(pass(in, "twice"), "twice"), "out", serde.String())
	}, `two stages are named "twice"`},
	{"a topic read twice", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	}, `two stages are named "in"`},
	{"a stage without a name", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, ""), "out", serde.String())
	}, `a stage of kind "filter" has no name`},
	{"a topic that is an input and a table", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.Table(p, "in", serde.String(), serde.String())
	}, `topic "in" is both an input and a table`},
	{"an illegal input topic", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.To(pipeline.From(p, "or ders", serde.String()), "out", serde.String())
	}, `"or ders" is not a legal topic name`},
	{"an illegal output topic", nil, func(_ *pipeline.Pipeline, in stream) { pipeline.To(in, "a/b", serde.String()) },
		`"a/b" is not a legal topic name`},
	{"a topic name that is too long", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(in, strings.Repeat("x", 250), serde.String())
	}, `x" is not a legal topic name`},
	{"a route without topics", nil, func(_ *pipeline.Pipeline, in stream) {
		stages.Route(in, "route", func(v string) string { return v }, nil, serde.String())
	}, `output "route" has no topics`},
	{"an input without a serde", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.To(pipeline.From[string](p, "in2", nil), "out", serde.String())
	}, `input "in2" has no serde`},
	{"an output without a serde", nil, func(_ *pipeline.Pipeline, in stream) { pipeline.To(in, "out2", nil) },
		`output "out2" has no serde`},
	{"a table without a value serde", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.Table[string, string](p, "table", serde.String(), nil)
	}, `table "table" has no serde`},
	{"a table without a key serde", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.Table[string](p, "table", nil, serde.String())
	}, `table "table" has no key serde`},
	{"a serde with a mistake", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(in, "out2", pipeline.Serde[string](badSerde{serde.String()}))
	}, `output "out2": oops`},
	{"a dead-letter policy without a topic", []pipeline.Option{pipeline.OnError(pipeline.ToDeadLetter)}, nil,
		`the policy is dead-letter, but no topic is named`},
	{"a stage's dead-letter policy without a topic", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "strict", pipeline.OnError(pipeline.ToDeadLetter)), "out", serde.String())
	}, `stage "strict" has the policy dead-letter, but no topic is named`},
	{"tombstones to dead letters without a topic", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.To(pipeline.From(p, "in2", serde.String(), pipeline.Tombstones(pipeline.ToDeadLetter)), "out", serde.String())
	}, `input "in2" sends tombstones to the dead letters, but no topic is named`},
	{"an illegal dead-letter topic", []pipeline.Option{pipeline.DeadLetter("d l q")}, nil,
		`dead-letter topic "d l q" is not a legal topic name`},
	{"a negative limit", []pipeline.Option{pipeline.DeadLetterLimit(-1)}, nil, `DeadLetterLimit must not be negative`},
	{"a negative number of retries", []pipeline.Option{pipeline.OnError(pipeline.Retry(-1, pipeline.Backoff{}, pipeline.Fail))}, nil,
		`Retry of -1 times`},
	{"a stage's negative backoff", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "f", pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{Max: -1}, pipeline.Fail))), "out", serde.String())
	}, `stage "f": a Backoff must not be negative`},
	{"a negative time-out", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "f", pipeline.Timeout(-time.Second)), "out", serde.String())
	}, `stage "f": Timeout must not be negative`},
	{"streams of two pipelines merged", nil, func(_ *pipeline.Pipeline, in stream) {
		other := pipeline.From(pipeline.New("other"), "x", serde.String())
		pipeline.To(stages.Merge("merge", in, other), "out", serde.String())
	}, `stage "merge" merges streams of pipelines "test" and "other"`},
	{"an input's option at a stage", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "f", pipeline.Tombstones(pipeline.Skip)), "out", serde.String())
	}, `stage "f": Tombstones is an option of inputs`},
	{"an input's option at an output", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(in, "out2", serde.String(), pipeline.Tombstones(pipeline.Skip))
	}, `output "out2": Tombstones is an option of inputs`},
	{"an output's option at a stage", nil, func(_ *pipeline.Pipeline, in stream) {
		pipeline.To(pass(in, "f", pipeline.AddHeader("k", nil)), "out", serde.String())
	}, `stage "f": PartitionBy and AddHeader are options of outputs`},
	{"an output's option at an input", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.To(pipeline.From(p, "in2", serde.String(), pipeline.AddHeader("k", nil)), "out", serde.String())
	}, `input "in2": PartitionBy and AddHeader are options of outputs`},
	{"an output's option at a table", nil, func(p *pipeline.Pipeline, _ stream) {
		pipeline.Table(p, "table", serde.String(), serde.String(), pipeline.Tombstones(pipeline.Skip))
	}, `table "table": a table takes only OnError and Timeout`},
}

func TestValidateFindsEveryMistake(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			p := pipeline.New("test", m.opts...)
			in := pipeline.From(p, "in", serde.String())
			pipeline.To(in, "out", serde.String())
			if m.build != nil {
				m.build(p, in)
			}
			err := p.Validate()
			if err == nil || !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), m.want) {
				t.Fatalf("got %v, want it to say %s", err, m.want)
			}
			want := 1
			if m.name == "a topic that is an input and a table" {
				want = 2 // it is also a name used twice
			}
			if n := strings.Count(err.Error(), "\n"); n != want {
				t.Errorf("one mistake makes %d lines:\n%v", n, err)
			}
			if err := pipeline.Run(context.Background(), p, nil, nil); !errors.Is(err, pipeline.ErrInvalid) {
				t.Errorf("Run said %v, want ErrInvalid before anything is opened", err)
			}
		})
	}
}

func TestValidateFindsAllMistakesAtOnce(t *testing.T) {
	var opts []pipeline.Option
	for _, m := range mistakes {
		if m.name != "a dead-letter policy without a topic" && m.name != "an illegal dead-letter topic" {
			opts = append(opts, m.opts...)
		}
	}
	p := pipeline.New("test", opts...)
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(in, "out", serde.String())
	for _, m := range mistakes {
		if m.build != nil {
			m.build(p, in)
		}
	}
	err := p.Validate()
	for _, m := range mistakes {
		if m.build != nil && (err == nil || !strings.Contains(err.Error(), m.want)) {
			t.Errorf("%s is missing", m.name)
		}
	}
	if !errors.Is(err, errOops) {
		t.Error("the serde's own error is not in the chain")
	}
}

func TestValidateOfAnEmptyPipeline(t *testing.T) {
	err := pipeline.New("").Validate()
	if err == nil {
		t.Fatal("an empty pipeline is valid")
	}
	for _, want := range []string{"the pipeline has no name", "no input; begin with pipeline.From"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestValidPipelines(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("out")) // the dead letters may share a topic with an output
	in := pipeline.From(p, "in", serde.String(), pipeline.Tombstones(pipeline.Skip))
	pipeline.To(in, "out", serde.String())
	pipeline.To(in, "out", serde.String()) // several streams may end in one topic
	pipeline.To(pass(in, "out"), "x", serde.String())
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}
