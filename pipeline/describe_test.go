package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func drawn() *pipeline.Pipeline {
	p := pipeline.New("orders", pipeline.DeadLetter("orders.dlq"))
	customers := pipeline.Table(p, "customers", serde.String(), serde.String())
	in := pipeline.From(p, "orders", serde.String())
	valid := stages.Check(in, "validate", func(string) error { return nil })
	full := stages.Enrich(valid, "customer", func(v string) string { return v }, customers, func(v, _ string) string { return v },
		pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{}, pipeline.Skip)))
	review, rest := stages.Split(full, "review", func(string) bool { return false })
	pipeline.To(review, "orders.review", serde.String())
	stages.Route(stages.Merge("all", rest, valid), "by <region>", func(v string) string { return v }, []string{"eu", "us"}, serde.String())
	return p
}

func TestDescribe(t *testing.T) {
	const want = `pipeline orders (on error: dead-letter, dead letters to orders.dlq)
table customers
input orders
  check validate
    enrich customer (reads customers) (on error: retry 2, then skip)
      split review
        branch 1:
          output orders.review
        branch 2:
          merge all
            output by <region> (eu, us)
    merge all (see above)
`
	if got := drawn().Describe(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDrawingsShowRetryTopics(t *testing.T) {
	p := retrying(bad)
	const input = "input in (retries in.retry.1m after 1m, in.retry.10m after 10m)\n"
	if got := p.Describe(); !strings.Contains(got, input) {
		t.Errorf("%s lacks %s", got, input)
	}
	got := p.Mermaid()
	for _, want := range []string{`  n0r1[("in.retry.1m<br/>retry after 1m")]`, `  n0r2[("in.retry.10m<br/>retry after 10m")]`, "  n0r1 -.-> n0\n", "  n0r2 -.-> n0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

func TestDrawingShowsRetriesInOrder(t *testing.T) {
	p := inOrder(bad, time.Minute, time.Hour)
	const input = "input in (retries in order in.retry after 1m, 1h)\n"
	if got := p.Describe(); !strings.Contains(got, input) {
		t.Errorf("%s lacks %s", got, input)
	}
	if got, want := strings.Join(append(p.Tables(), p.Outputs()...), " "), "in.retry.marks dlq in.retry in.retry.marks out"; got != want {
		t.Errorf("the topics are %s, want %s", got, want)
	}
}

func TestMermaid(t *testing.T) {
	const want = `flowchart TD
  n0[["customers<br/>table"]]
  n1[("orders<br/>input")]
  n2["validate<br/>check"]
  n3["customer<br/>enrich"]
  n4["review<br/>split"]
  n5[("orders.review<br/>output")]
  n6["all<br/>merge"]
  n7[("by #lt;region#gt;<br/>output")]
  n1 --> n2
  n2 --> n3
  n2 --> n6
  n3 --> n4
  n4 -->|1| n5
  n4 -->|2| n6
  n6 --> n7
  n0 -.-> n3
  dlq[("orders.dlq<br/>dead letters")]
`
	if got := drawn().Mermaid(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A pipeline that is not valid can be drawn too, to see what is wrong with it.
func TestDescribeOfAnInvalidPipeline(t *testing.T) {
	p := pipeline.New("")
	in := pipeline.From(p, "in", serde.String())
	stages.Filter(in, "loose", func(string) bool { return true })
	if got, want := p.Describe(), "pipeline  (on error: fail)\ninput in\n  filter loose\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if p.Mermaid() == "" || p.Validate() == nil {
		t.Error("Mermaid drew nothing, or the pipeline is valid")
	}
}
