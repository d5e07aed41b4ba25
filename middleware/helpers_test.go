package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

var errOops = errors.New("oops")

// checking is a pipeline from in to out with one stage, and dead letters.
func checking(check func(context.Context, string) error, opts ...pipeline.Option) *pipeline.Pipeline {
	p := pipeline.New("p", append([]pipeline.Option{pipeline.DeadLetter("dlq")}, opts...)...)
	pipeline.To(stages.CheckCtx(pipeline.From(p, "in", serde.String()), "check", check), "out", serde.String())
	return p
}

func passing(opts ...pipeline.Option) *pipeline.Pipeline {
	return checking(func(context.Context, string) error { return nil }, opts...)
}

// one is a cluster with topics of one partition.
func one(p *pipeline.Pipeline) *pipelinetest.Cluster {
	return pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
}

func expectValues(t *testing.T, c *pipelinetest.Cluster, topic string, want ...string) {
	t.Helper()
	var got []string
	for _, r := range c.Records(topic) {
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", topic, got, want)
	}
}

func expectInvalid(t *testing.T, opt pipeline.Option, says ...string) {
	t.Helper()
	err := passing(opt).Validate()
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatalf("error %v, want ErrInvalid", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// text shows headers.
func text(h pipeline.Headers) string {
	var out []string
	for _, x := range h {
		out = append(out, fmt.Sprintf("%s=%s", x.Key, x.Value))
	}
	return strings.Join(out, " ")
}
