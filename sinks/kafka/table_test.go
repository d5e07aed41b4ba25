package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func itself(s string) string { return s }

// A table is complete before the first record is read, whatever it ends in, and
// every worker has all of it.
func TestATableIsCompleteBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{
		topic("in", 2), topic("out", 1), topic("dlq", 1),
		{Name: "names", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact"}},
	}})
	var entries []*kgo.Record
	for _, k := range []string{"a", "b", "c", "gone"} {
		entries = append(entries, text("names", k, "name of "+k))
	}
	c.ProduceTransaction(true, append(entries, &kgo.Record{Topic: "names", Key: []byte("gone")})...)
	c.ProduceTransaction(false, text("names", "b", "never committed"))
	for _, v := range []string{"a", "b", "c", "gone", "unknown"} {
		c.Produce(text("in", v, v))
	}
	var stats pipeline.Stats
	p := pipeline.New("names", pipeline.DeadLetter("dlq"))
	names := pipeline.Table(p, "names", serde.String(), serde.String())
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Enrich(in, "name", itself, names, func(_, name string) string { return name }), "out", serde.String())
	cfg := c.config()
	cfg.Stats = &stats
	noError(t, run(t, p, cfg), "run")

	got := map[string]bool{}
	for _, v := range values(c.ReadAll("out")) {
		got[v] = true
	}
	if len(got) != 3 || !got["name of a"] || !got["name of b"] || !got["name of c"] {
		t.Errorf("out has %v", got)
	}
	if dead := values(c.ReadAll("dlq")); len(dead) != 2 {
		t.Errorf("dead letters %v, want gone and unknown", dead)
	}
	if n := stats.Snapshot().Tables["names"].Entries; n != 3 {
		t.Errorf("the table has %d entries, want 3", n)
	}
}

// An entry that cannot be decoded fails the pipeline by default, and follows the
// policy if there is one.
func TestATableEntryThatIsNotText(t *testing.T) {
	t.Parallel()
	for _, skip := range []bool{false, true} {
		t.Run(map[bool]string{false: "fails", true: "is skipped"}[skip], func(t *testing.T) {
			t.Parallel()
			c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1), topic("names", 1)}})
			c.Produce(text("names", "a", "\xff"), text("names", "b", "name"), text("in", "b", "b"))
			p := pipeline.New("names")
			var opts []pipeline.StageOption
			if skip {
				opts = append(opts, pipeline.OnError(pipeline.Skip))
			}
			names := pipeline.Table(p, "names", serde.String(), serde.String(), opts...)
			pipeline.To(stages.Enrich(pipeline.From(p, "in", serde.String()), "name", itself, names, func(_, name string) string { return name }), "out", serde.String())
			err := run(t, p, c.config())
			if skip {
				noError(t, err, "run")
				same(t, "out", values(c.ReadAll("out")), []string{"name"})
				return
			}
			wantError(t, err, serde.ErrNotUTF8, "names[0]@0")
		})
	}
}
