package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

var later = pipeline.OnError(pipeline.RetryLater)

// Each mistake is named, and alone.
func TestMistakesOfRetries(t *testing.T) {
	minute := pipeline.RetryTopics(time.Minute)
	dead := pipeline.DeadLetter("dlq")
	for _, c := range []struct {
		name  string
		build func(p *pipeline.Pipeline)
		opts  []pipeline.Option
		want  string
	}{
		{"no retry topics", func(p *pipeline.Pipeline) {
			pipeline.To(pass(pipeline.From(p, "in", serde.String()), "pass", later), "out", serde.String())
		}, []pipeline.Option{dead}, `filter "pass" has the policy retry-later, but input "in", whose records reach it, has no retry topics`},
		{"one of two inputs has none", func(p *pipeline.Pipeline) {
			both := stages.Merge("both", pipeline.From(p, "in", serde.String(), minute), pipeline.From(p, "other", serde.String()))
			pipeline.To(both, "out", serde.String(), later)
		}, []pipeline.Option{dead}, `output "out" has the policy retry-later, but input "other", whose records reach it`},
		{"of the pipeline", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
		}, []pipeline.Option{dead, later}, `the pipeline has the policy retry-later, but input "in"`},
		{"of tombstones", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.Tombstones(pipeline.RetryLater)), "out", serde.String())
		}, []pipeline.Option{dead}, `input "in" has the policy retry-later, but input "in"`},
		{"no dead letters", func(p *pipeline.Pipeline) {
			s := pipeline.From(p, "in", serde.String(), minute)
			pipeline.To(pass(s, "pass", pipeline.OnError(pipeline.Retry(3, pipeline.Backoff{}, pipeline.RetryLater))), "out", serde.String())
		}, nil, `filter "pass" has the policy retry-later, but no topic is named for records whose retries are used up`},
		{"a table", func(p *pipeline.Pipeline) {
			pipeline.Table(p, "table", serde.String(), serde.String())
			pipeline.To(pipeline.From(p, "in", serde.String(), minute), "out", serde.String())
		}, []pipeline.Option{dead, later}, `table "table" has the policy retry-later`},
		{"no delay", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopics()), "out", serde.String())
		}, nil, `RetryTopics without a delay`},
		{"too short a delay", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("again", 0)), "out", serde.String())
		}, nil, `input "in": retry topic "again" has the delay 0s; use 1 ms or more`},
		{"a delay twice", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(time.Minute, time.Minute)), "out", serde.String())
		}, nil, `retry topic "in.retry.1m" is a retry topic of input "in", too`},
		{"another input's", func(p *pipeline.Pipeline) {
			again := pipeline.RetryTopic("again", time.Minute)
			pipeline.To(stages.Merge("both", pipeline.From(p, "in", serde.String(), again), pipeline.From(p, "other", serde.String(), again)), "out", serde.String())
		}, nil, `input "other": retry topic "again" is a retry topic of input "in", too`},
		{"an input", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("in", time.Minute)), "out", serde.String())
		}, nil, `retry topic "in" is an input, too`},
		{"an output", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("out", time.Minute)), "out", serde.String())
		}, nil, `retry topic "out" is an output, too`},
		{"a table's topic", func(p *pipeline.Pipeline) {
			pipeline.Table(p, "table", serde.String(), serde.String())
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("table", time.Minute)), "out", serde.String())
		}, nil, `retry topic "table" is a table, too`},
		{"the dead letters'", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("dlq", time.Minute)), "out", serde.String())
		}, []pipeline.Option{dead}, `retry topic "dlq" is the dead-letter topic, too`},
		{"an illegal name", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryTopic("a/b", time.Minute)), "out", serde.String())
		}, nil, `retry topic "a/b" is not a legal topic name`},
		{"in order, without a delay", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder()), "out", serde.String())
		}, nil, `RetryInOrder without a delay`},
		{"in order, too short a delay", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder(time.Minute, 0)), "out", serde.String())
		}, nil, `input "in": RetryInOrder has the delay 0s; use 1 ms or more`},
		{"in order, and not", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), minute, pipeline.RetryInOrder(time.Minute)), "out", serde.String())
		}, nil, `RetryInOrder has a retry topic of its own`},
		{"marks in an output", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String(), pipeline.RetryInOrder(time.Minute)), "in.retry.marks", serde.String())
		}, nil, `topic "in.retry.marks", for the marks of its retry topic, is an output, too`},
		{"in order, of a stage", func(p *pipeline.Pipeline) {
			pipeline.To(pass(pipeline.From(p, "in", serde.String()), "pass", pipeline.RetryInOrder(time.Minute)), "out", serde.String())
		}, nil, `filter "pass": RetryTopics, RetryTopic and RetryInOrder are options of inputs`},
		{"of a stage", func(p *pipeline.Pipeline) {
			pipeline.To(pass(pipeline.From(p, "in", serde.String()), "pass", minute), "out", serde.String())
		}, nil, `filter "pass": RetryTopics, RetryTopic and RetryInOrder are options of inputs`},
		{"of an output", func(p *pipeline.Pipeline) {
			pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String(), minute)
		}, nil, `output "out": RetryTopics, RetryTopic and RetryInOrder are options of inputs`},
		{"of a table's option", func(p *pipeline.Pipeline) {
			pipeline.Table(p, "table", serde.String(), serde.String(), minute)
			pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
		}, nil, `table "table": RetryTopics, RetryTopic and RetryInOrder are options of inputs`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pipeline.New("test", c.opts...)
			c.build(p)
			err := p.Validate()
			if !errors.Is(err, pipeline.ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") != 1 {
				t.Errorf("got %v, want only %q", err, c.want)
			}
		})
	}
}

// All of them are named at once.
func TestMistakesOfRetriesAtOnce(t *testing.T) {
	p := pipeline.New("test", later)
	s := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(-time.Minute), pipeline.RetryTopic("out", time.Hour))
	pipeline.To(stages.Merge("both", s, pipeline.From(p, "other", serde.String())), "out", serde.String())
	err := p.Validate()
	for _, want := range []string{`"in.retry.-1m" has the delay`, `"out" is an output`, `no topic is named`, `input "other"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q among them", err, want)
		}
	}
}

// What is unusual is not wrong: delays that fall, retry topics that nothing is sent to any more,
// stages after others with other policies.
func TestRetriesThatAreNotWrong(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(time.Hour, time.Minute))
	other := pipeline.From(p, "other", serde.String())
	pipeline.To(pass(in, "pass", later), "out", serde.String())
	pipeline.To(other, "out", serde.String())
	drained := pipeline.From(p, "drained", serde.String(), pipeline.RetryTopics(time.Hour))
	pipeline.To(drained, "out", serde.String())
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}
