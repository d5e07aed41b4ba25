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
	"github.com/leat-stream/leat/stages"
)

// named joins the values of topic in with their names in topic names.
func named(opts ...pipeline.StageOption) (*pipeline.Pipeline, *pipeline.GlobalTable[string, string]) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	names := pipeline.Table(p, "names", serde.String(), serde.String(), opts...)
	in := pipeline.From(p, "in", serde.String())
	self := func(v string) string { return v }
	out := stages.Enrich(in, "name", self, names, func(v, name string) string { return v + "=" + name })
	pipeline.To(out, "out", serde.String())
	return p, names
}

func name(c *pipelinetest.Cluster, key, value string) {
	c.Feed("names", pipelinetest.Entry(serde.String(), key, serde.String(), value))
}

// A table is loaded to its end before the first record, and followed from then on.
func TestTableIsLoadedAndFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, names := named()
		c := pipelinetest.For(p)
		for _, k := range numbered("k", 500) {
			name(c, k, "old")
		}
		name(c, "k0", "new")
		name(c, "gone", "soon")
		c.Feed("names", pipelinetest.Tombstone(serde.String(), "gone"))
		feed(c, 0, "k0", "k499", "gone")
		w := c.Start(t.Context(), p)
		settle(time.Second)
		expectTexts(t, c, "out", "k0=new", "k499=old")
		expectTexts(t, c, "dlq", "gone")
		if names.Len() != 500 {
			t.Errorf("%d entries, want 500", names.Len())
		}

		name(c, "later", "here")
		settle(0)
		feed(c, 1, "later")
		settle(time.Second)
		expectTexts(t, c, "out", "k0=new", "k499=old", "later=here")
		stats := w.Stats().Tables["names"]
		if stats.Entries != 501 || stats.Bytes < 1000 {
			t.Errorf("stats %+v", stats)
		}
		stop(t, w)
	})
}

// An empty table is loaded at once.
func TestEmptyTable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := named()
		c := pipelinetest.For(p)
		feed(c, 0, "k")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "dlq", "k")
	})
}

// undecodable is an entry that serde.String refuses.
var undecodable = pipelinetest.Bytes([]byte("k"), []byte{0xff}).On(2)

func TestUndecodableTableEntry(t *testing.T) {
	t.Run("fail", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, _ := named(pipeline.OnError(pipeline.Fail))
			c := pipelinetest.For(p)
			c.Feed("names", undecodable)
			err := c.Run(t.Context(), p)
			if se, ok := errors.AsType[*pipeline.StageError](err); !ok || se.Stage != "names" || se.Origin != (pipeline.Origin{Topic: "names", Partition: 2}) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("fail while running", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, _ := named(pipeline.OnError(pipeline.Fail))
			c := pipelinetest.For(p)
			w := c.Start(t.Context(), p)
			settle(time.Second)
			c.Feed("names", undecodable)
			if err := w.Wait(); !errors.Is(err, serde.ErrNotUTF8) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("skip", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, _ := named(pipeline.OnError(pipeline.Skip))
			c := pipelinetest.For(p)
			c.Feed("names", undecodable)
			name(c, "a", "b")
			feed(c, 0, "a")
			w := c.Start(t.Context(), p)
			settle(time.Second)
			if n := w.Stats().Skipped; n != 1 {
				t.Errorf("%d skipped, want 1", n)
			}
			stop(t, w)
			expectTexts(t, c, "out", "a=b")
			expectTexts(t, c, "dlq")
		})
	})
	t.Run("no key", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, _ := named()
			c := pipelinetest.For(p)
			c.Feed("names", pipelinetest.Bytes(nil, []byte("v")))
			if err := c.Run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if n := len(c.DeadLetters("dlq")); n != 1 {
				t.Errorf("%d dead letters, want 1", n)
			}
		})
	})
}

// The dead letter of an entry is written in a transaction, once for each load, with
// or without input, and whatever aborts on the way.
func TestDeadLetterOfATableEntry(t *testing.T) {
	for _, input := range []bool{false, true} {
		for _, step := range []pipelinetest.Step{"", pipelinetest.StepBegin, pipelinetest.StepSend, pipelinetest.StepCommit} {
			inBubble(t, func(t *testing.T) {
				p, _ := named()
				c := pipelinetest.For(p)
				c.Feed("names", undecodable)
				name(c, "a", "b")
				if input {
					feed(c, 0, "a")
				}
				if step != "" {
					c.Inject(pipelinetest.Fault{Step: step, Kind: pipelinetest.Abortable})
				}
				w := c.Start(t.Context(), p)
				settle(2 * time.Second)
				stop(t, w)
				letters := c.DeadLetters("dlq")
				if len(letters) != 1 || letters[0].Stage != "names" || letters[0].From != (pipeline.Origin{Topic: "names", Partition: 2}) {
					t.Errorf("with %q aborted, input %v: dead letters %+v", step, input, letters)
				}
				for _, commit := range c.Commits() {
					if commit.Records == 0 {
						t.Errorf("an empty transaction: %+v", commit)
					}
				}
				if len(c.OpenTransactions()) > 0 {
					t.Error("a transaction is left open")
				}
			})
		}
	}
}

// The dead letters of a table count towards the limit, and are never too large in
// silence.
func TestDeadLettersOfATableAreLimited(t *testing.T) {
	t.Run("number", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.DeadLetterLimit(2))
			pipeline.Table(p, "names", serde.String(), serde.String())
			pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
			c := pipelinetest.For(p)
			c.Feed("names", undecodable, undecodable, undecodable)
			if err := c.Run(t.Context(), p); !errors.Is(err, pipeline.ErrDeadLetterLimit) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("size", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			p, _ := named()
			c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 4), MaxRecordSize: 500})
			c.Feed("names", pipelinetest.Bytes([]byte("k"), []byte(strings.Repeat("\xff", 1000))))
			err := c.Run(t.Context(), p)
			if se, ok := errors.AsType[*pipeline.StageError](err); !ok || !errors.Is(err, pipeline.ErrDeadLetterTooLarge) || se.Stage != "names" {
				t.Errorf("got %v", err)
			}
		})
	})
}

// downFor is a serde whose registry is down until a time.
type downFor struct {
	serde.Serde[string]
	until time.Time
}

func (s downFor) Decode(ctx context.Context, at pipeline.Slot, data []byte) (string, error) {
	if time.Now().Before(s.until) {
		return "", pipeline.Retriable(errOops)
	}
	return s.Serde.Decode(ctx, at, data)
}

// A table whose registry is down waits for it, and so does the pipeline.
func TestTableWaitsForItsRegistry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"))
		names := pipeline.Table(p, "names", serde.String(), serde.Serde[string](downFor{serde.String(), time.Now().Add(time.Minute)}))
		pipeline.To(stages.Enrich(pipeline.From(p, "in", serde.String()), "name", func(v string) string { return v }, names,
			func(_, name string) string { return name }), "out", serde.String())
		c := pipelinetest.For(p)
		name(c, "k", "v")
		feed(c, 0, "k")
		began := time.Now()
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", "v")
		if took := time.Since(began); took < time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// panics is a serde that panics.
type panics struct{ serde.Serde[string] }

func (panics) Decode(context.Context, pipeline.Slot, []byte) (string, error) { panic("in a serde") }

// A panic in a table's serde is its entry's error.
func TestTableSerdePanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"))
		pipeline.Table(p, "names", serde.String(), serde.Serde[string](panics{serde.String()}))
		pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
		c := pipelinetest.For(p)
		name(c, "k", "v")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if letters := c.DeadLetters("dlq"); len(letters) != 1 || letters[0].Error != "panic: in a serde" {
			t.Errorf("dead letters %+v", letters)
		}
	})
}

// A table belongs to one run at a time, and may be used by the next.
func TestOneRunAtATimeForATable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, _ := named()
		c := pipelinetest.For(p)
		name(c, "a", "b")
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"))
		settle(time.Second)
		if err := c.Run(t.Context(), p, pipelinetest.Instance("b")); !errors.Is(err, pipeline.ErrInvalid) {
			t.Errorf("got %v", err)
		}
		stop(t, a)
		feed(c, 0, "a")
		if err := c.Run(t.Context(), p, pipelinetest.Instance("b")); err != nil {
			t.Error(err)
		}
		expectTexts(t, c, "out", "a=b")
	})
}
