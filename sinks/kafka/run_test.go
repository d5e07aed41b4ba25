package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

var bothGuarantees = []pipeline.Guarantee{pipeline.ExactlyOnce, pipeline.AtLeastOnce}

func TestACopyIsExact(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 4)
			c.Prefill("in", 5000)
			var stats pipeline.Stats
			cfg := c.config()
			cfg.Delivery, cfg.Stats = g, &stats
			noError(t, run(t, copying("copy"), cfg), "run")
			if err := c.Compare("in", "out", 5000).Exact(); err != nil {
				t.Error(err)
			}
			if got := c.positions("copy", "in"); got != 5000 {
				t.Errorf("the group has committed %d records, want 5000", got)
			}
			if s := stats.Snapshot(); s.Committed != 5000 || s.Records < 5000 || s.Commits == 0 || s.LastCommit.IsZero() {
				t.Errorf("the counters say %+v", s)
			}
		})
	}
}

func TestEverythingOfARecordPassesThrough(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(time.Now().Add(-time.Minute).UnixMilli())
	in := []*kgo.Record{
		{Key: []byte("k"), Value: []byte("v")},
		{Key: nil, Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("tombstone"), Value: nil},
		{Key: []byte("empty"), Value: []byte{}},
		{Key: []byte("headers"), Value: []byte("v"), Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "b", Value: nil}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte("1")},
		}},
	}
	for i, r := range in {
		r.Topic, r.Timestamp = "in", at.Add(time.Duration(i)*time.Second)
	}
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			c.Produce(clone(in)...)
			cfg := c.config()
			cfg.Delivery = g
			noError(t, run(t, copying("copy"), cfg), "run")
			out := c.ReadAll("out")
			if len(out) != len(in) {
				t.Fatalf("%d records came out, want %d", len(out), len(in))
			}
			for i, r := range out {
				sameRecord(t, r, in[i])
			}
		})
	}
}

func clone(in []*kgo.Record) []*kgo.Record {
	out := make([]*kgo.Record, len(in))
	for i, r := range in {
		c := *r
		out[i] = &c
	}
	return out
}

func sameRecord(t *testing.T, got, want *kgo.Record) {
	t.Helper()
	sameBytes(t, fmt.Sprintf("key of %q", want.Value), got.Key, want.Key)
	sameBytes(t, fmt.Sprintf("value of key %q", want.Key), got.Value, want.Value)
	if !got.Timestamp.Equal(want.Timestamp) {
		t.Errorf("key %q: timestamp %v, want %v", want.Key, got.Timestamp, want.Timestamp)
	}
	if len(got.Headers) != len(want.Headers) {
		t.Fatalf("key %q: %d headers, want %d", want.Key, len(got.Headers), len(want.Headers))
	}
	for i, h := range got.Headers {
		if h.Key != want.Headers[i].Key {
			t.Errorf("key %q: header %d is %q, want %q", want.Key, i, h.Key, want.Headers[i].Key)
		}
		sameBytes(t, fmt.Sprintf("header %d", i), h.Value, want.Headers[i].Value)
	}
}

// sameBytes tells null from empty.
func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Errorf("%s: %q (nil: %v), want %q (nil: %v)", what, got, got == nil, want, want == nil)
	}
}

// Records without a key fill a batch of one partition before they go to the next, as a
// Producer's do.
func TestRecordsWithoutAKeyAreSpread(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 3)}})
	var all []*kgo.Record
	const n, size, batch = 300, 100, 1 << 10
	for i := range n {
		all = append(all, &kgo.Record{Topic: "in", Value: append(make([]byte, size-2), byte(i>>8), byte(i))})
	}
	c.Produce(all...)
	cfg := c.config()
	cfg.Producer.BatchSize = batch
	noError(t, run(t, copying("copy"), cfg), "run")
	var partition [n]int32
	for p, records := range c.Read("out") {
		for _, r := range records {
			partition[int(r.Value[size-2])<<8|int(r.Value[size-1])] = p
		}
		if len(records) < n/3-15 || len(records) > n/3+15 {
			t.Errorf("partition %d has %d of %d records", p, len(records), n)
		}
	}
	changes := 0
	for i := 1; i < n; i++ {
		if partition[i] != partition[i-1] {
			changes++
		}
	}
	if least, most := n*size/batch-1, n*(size+20)/batch+1; changes < least || changes > most {
		t.Errorf("%d changes of the partition, want %d to %d: %v", changes, least, most, partition)
	}
}

var errOdd = errors.New("odd")

// The dead letters are committed with the outputs of the records around them: two
// topics, one producer, one transaction.
func TestDeadLettersAreInTheSameTransaction(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1), topic("dlq", 1)}})
	c.Produce(numbered("in", 0, 10)...)
	p := pipeline.New("copy", pipeline.DeadLetter("dlq"))
	good := stages.Check(pipeline.From(p, "in", serde.String()), "even", func(s string) error {
		if s[len(s)-1]%2 == 1 {
			return errOdd
		}
		return nil
	})
	pipeline.To(good, "out", serde.String())
	cfg := c.config()
	cfg.CommitInterval = time.Second // all of it fits one
	noError(t, run(t, p, cfg), "run")

	out, dead := c.ReadAll("out"), c.ReadAll("dlq")
	same(t, "outputs", values(out), []string{"v0", "v2", "v4", "v6", "v8"})
	same(t, "dead letters", values(dead), []string{"v1", "v3", "v5", "v7", "v9"})
	for _, name := range []string{"out", "dlq"} {
		if end := c.Ends(name, true)[0]; end != 6 {
			t.Errorf("%s ends at %d, want 6: five records and one commit marker", name, end)
		}
	}
	if len(out) > 0 && len(dead) > 0 && (out[0].ProducerID != dead[0].ProducerID || !dead[0].Attrs.IsTransactional()) {
		t.Errorf("producer %d wrote the outputs, %d the dead letters (transactional: %v)", out[0].ProducerID, dead[0].ProducerID, dead[0].Attrs.IsTransactional())
	}
	if len(dead) > 0 {
		h := map[string]string{}
		for _, x := range dead[0].Headers {
			h[x.Key] = string(x.Value)
		}
		if h[pipeline.HeaderStage] != "even" || h[pipeline.HeaderOffset] != "1" || h[pipeline.HeaderError] != "odd" {
			t.Errorf("the dead letter says %v", h)
		}
	}
}

// A transaction with positions and no records is committed all the same.
func TestAFilterThatDropsEverythingAdvances(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 2)
			c.Produce(numbered("in", 0, 100)...)
			p := pipeline.New("none")
			pipeline.To(stages.Filter(pipeline.From(p, "in", serde.String()), "none", func(string) bool { return false }), "out", serde.String())
			cfg := c.config()
			cfg.Delivery = g
			noError(t, run(t, p, cfg), "run")
			if got := c.positions("none", "in"); got != 100 {
				t.Errorf("the group has committed %d, want 100", got)
			}
		})
	}
}

// What an error stopped is done again, once, at the next start.
func TestAFailureLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	c := inOut(t, 2)
	c.Produce(numbered("in", 0, 200)...)
	broken := true
	build := func() *pipeline.Pipeline {
		p := pipeline.New("copy")
		in := stages.Check(pipeline.From(p, "in", serde.String()), "fragile", func(s string) error {
			if broken && s == "v150" {
				return errOdd
			}
			return nil
		})
		pipeline.To(in, "out", serde.String())
		return p
	}
	err := run(t, build(), c.config())
	wantError(t, err, errOdd, `stage "fragile"`, "in[")
	se, ok := errors.AsType[*pipeline.StageError](err)
	if !ok || se.Origin.Topic != "in" {
		t.Errorf("error %v is no StageError of topic in", err)
	}
	broken = false
	noError(t, run(t, build(), c.config()), "run again")
	got := map[string]int{}
	for _, v := range values(c.ReadAll("out")) {
		got[v]++
	}
	for i := range 200 {
		if v := fmt.Sprintf("v%d", i); got[v] != 1 {
			t.Errorf("%s came out %d times", v, got[v])
		}
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			checktest.NoLeaks(t, "github.com/IBM/sarama", "leat-stream/leat/pipeline.", "leat-stream/leat/sources/kafka.", "leat-stream/leat/sinks/kafka.", "leat-stream/leat/internal/cluster.")
			c := inOut(t, 2)
			c.Produce(numbered("in", 0, 50)...)
			cfg := c.config()
			cfg.Delivery = g
			noError(t, run(t, copying("copy"), cfg), "run to the end")

			cfg.UntilEnd = false
			r := launch(t, copying("copy"), cfg)
			c.Produce(numbered("in", 50, 100)...)
			c.Await("all of it", func() bool { return c.positions("copy", "in") == 100 })
			r.stop()

			cfg.Group = "another"
			if err := run(t, failing(), cfg); !errors.Is(err, errOdd) {
				t.Errorf("error %v, want %v", err, errOdd)
			}
			p := pipeline.New("copy")
			pipeline.To(pipeline.From(p, "missing", serde.Bytes()), "out", serde.Bytes())
			wantError(t, run(t, p, cfg), pipeline.ErrMissingTopic)
		})
	}
}

func failing() *pipeline.Pipeline {
	p := pipeline.New("failing")
	pipeline.To(stages.Check(pipeline.From(p, "in", serde.Bytes()), "fails", func([]byte) error { return errOdd }), "out", serde.Bytes())
	return p
}

// A second Run of the same pipeline value is as good as the first.
func TestAPipelineMayRunAgain(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	p := copying("copy")
	for i := range 3 {
		c.Produce(numbered("in", i*10, i*10+10)...)
		noError(t, run(t, p, c.config()), "run")
	}
	same(t, "out", values(c.ReadAll("out")), values(c.ReadAll("in")))
}

func TestAContextThatHasEndedStopsRunAtOnce(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, 5*time.Second, func() { noError(t, kafka.Run(ctx, copying("copy"), c.config()), "run") })
}
