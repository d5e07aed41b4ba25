package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

type order struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
}

// refusing is a pipeline of orders of which the stage takes none.
func refusing(s pipeline.Serde[order]) *pipeline.Pipeline {
	p := pipeline.New("p", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", s)
	pipeline.To(stages.Check(in, "check", func(o order) error { return fmt.Errorf("amount %d", o.Amount) }), "out", s)
	return p
}

// letters runs records through the pipeline and returns its dead letters as shown.
func letters(t *testing.T, cfg console.Config, p *pipeline.Pipeline, messages ...pipelinetest.Message) []console.Letter {
	t.Helper()
	c, live := cluster(p, 1), newConsole(t, cfg)
	c.Feed("in", messages...)
	pipelinetest.Run(t, p, c, observed(live))
	return only(t, live).DeadLetters
}

func bytesOf(key, value []byte) pipelinetest.Message { return pipelinetest.Bytes(key, value).On(0) }

// A payload is shown decoded, else as text, else in hexadecimal.
func TestFormsOfPayloads(t *testing.T) {
	got := letters(t, console.Config{}, refusing(serde.JSON[order]()),
		bytesOf([]byte("k\x00"), []byte(`{"id":"<script>alert(1)</script>","amount":7}`)),
		bytesOf(nil, []byte("no JSON <b>é</b>\n")),
		bytesOf([]byte("k"), []byte{0xff, 0x00, 'A'}),
		bytesOf([]byte("k"), nil),
		bytesOf([]byte("k"), []byte{}),
	)
	want := []console.Letter{ // the newest first
		{Stage: "in", Form: console.FormText, Key: "k", KeySize: 1, Offset: 4},
		{Stage: "in", Form: console.FormNull, Key: "k", KeySize: 1, Offset: 3},
		{Stage: "in", Form: console.FormHex, Key: "k", Value: "ff 00 41", KeySize: 1, ValueSize: 3, Offset: 2},
		{Stage: "in", Form: console.FormText, Value: "no JSON <b>é</b>\n", ValueSize: 18, Offset: 1},
		{Stage: "check", Form: console.FormJSON, Key: "6b 00", KeySize: 2, ValueSize: 45,
			Value: "{\n  \"id\": \"<script>alert(1)</script>\",\n  \"amount\": 7\n}", Reason: "amount 7"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d dead letters", len(got))
	}
	for i, w := range want {
		g := got[i]
		if g.Reason == "" || g.At == 0 || g.Topic != "in" {
			t.Errorf("%d: %+v", i, g)
		}
		if w.Reason == "" {
			g.Reason = ""
		}
		g.At, g.Topic = 0, ""
		if g != w {
			t.Errorf("%d:\n got %+v\nwant %+v", i, g, w)
		}
	}
}

// The document itself is safe in a page that does not treat it as text, too.
func TestMarkupIsEscaped(t *testing.T) {
	p := refusing(serde.JSON[order]())
	c, live := cluster(p, 1), newConsole(t, console.Config{})
	c.Feed("in", bytesOf([]byte("<img src=x onerror=alert(1)>"), []byte("</script><script>alert(1)</script>")))
	pipelinetest.Run(t, p, c, observed(live))
	body := get(live, "/state.json").Body.String()
	if strings.ContainsAny(body, "<>") || !strings.Contains(body, `\u003cimg`) {
		t.Errorf("%s", body)
	}
}

func TestLettersAreBounded(t *testing.T) {
	var fed []pipelinetest.Message
	for range 70 {
		fed = append(fed, bytesOf([]byte(strings.Repeat("é", 30_000)), []byte(`{"id":"`+strings.Repeat("ü", 30_000)+`"}`)))
	}
	got := letters(t, console.Config{}, refusing(serde.JSON[order]()), fed...)
	if len(got) == 0 || len(got) > 50 {
		t.Fatalf("%d dead letters", len(got))
	}
	for _, l := range got {
		if len(l.Key) > 16<<10 || len(l.Value) > 16<<10+3 || l.KeySize != 60_000 || l.ValueSize != 60_009 || l.Form != console.FormText || !utf8.ValidString(l.Key) {
			t.Fatalf("key of %d, value of %d bytes, form %s", len(l.Key), len(l.Value), l.Form)
		}
	}
	long := letters(t, console.Config{}, refusing(serde.JSON[order]()), bytesOf(nil, append(make([]byte, 8000), 0xff)))
	if n := len(long[0].Value); long[0].Form != console.FormHex || n > 16<<10+3 {
		t.Errorf("%s of %d bytes", long[0].Form, n)
	}
}

// The last ones are kept, whatever transactions they came in.
func TestLastLettersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := refusing(serde.JSON[order]())
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		for range 4 {
			for range 30 {
				c.Feed("in", bytesOf(nil, []byte("no")))
			}
			pass(time.Second)
		}
		got := only(t, live).DeadLetters
		if len(got) != 50 || got[0].Offset != 119 || got[49].Offset != 70 {
			t.Errorf("%d letters, of offsets %d to %d", len(got), got[0].Offset, got[len(got)-1].Offset)
		}
	})
}

// With HidePayloads nothing of a record is in the document.
func TestHiddenPayloads(t *testing.T) {
	p := refusing(serde.JSON[order]())
	c, live := cluster(p, 1), newConsole(t, console.Config{HidePayloads: true})
	c.Feed("in", bytesOf([]byte("planted-key"), []byte(`{"id":"planted-value"}`)).Header("h", "planted-header"))
	pipelinetest.Run(t, p, c, observed(live))
	body := get(live, "/state.json").Body.String()
	if strings.Contains(body, "planted") || !strings.Contains(body, `"form":"hidden"`) || !strings.Contains(body, `"valueSize":22`) {
		t.Errorf("%s", body)
	}
}

// stubborn is a serde that answers as it is told to once the pipeline is through.
type stubborn struct {
	pipeline.Serde[order]
	answer *func(context.Context) error
	asked  *int
}

func (s stubborn) Decode(ctx context.Context, at pipeline.Slot, data []byte) (o order, err error) {
	if *s.answer == nil {
		return s.Serde.Decode(ctx, at, data)
	}
	*s.asked++
	if err := (*s.answer)(ctx); err != nil {
		return o, err
	}
	return s.Serde.Decode(ctx, at, data)
}

// Decoding has little time for each refresh; what fails for now is tried again later,
// and not for ever; what fails for good once.
func TestDecodingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer func(context.Context) error
		asked := 0
		p := refusing(stubborn{serde.JSON[order](), &answer, &asked})
		c, live := cluster(p, 1), newConsole(t, console.Config{})
		for range 20 {
			c.Feed("in", bytesOf(nil, []byte(`{"id":"a"}`)))
		}
		w := c.Start(t.Context(), p, observed(live))
		defer stop(t, w)
		pass(time.Second)
		answer = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } // a registry that does not answer
		began := time.Now()
		r := only(t, live)
		if d := time.Since(began); d > 300*time.Millisecond || r.DeadLetters[0].Form != console.FormText {
			t.Errorf("it took %v, form %s", d, r.DeadLetters[0].Form)
		}
		for range 600 { // the browser asks on
			pass(time.Second)
			only(t, live)
		}
		if asked > 20*6 {
			t.Errorf("asked %d times", asked)
		}

		answer = nil
		for range 3 {
			c.Feed("in", bytesOf(nil, []byte(`{"id":"b"}`)))
		}
		pass(time.Second)
		asked = 0
		answer = func(context.Context) error { return pipeline.Retriable(errors.New("down")) }
		only(t, live)
		pass(5 * time.Second)
		only(t, live)
		if asked != 3 {
			t.Errorf("asked %d times within the pause", asked)
		}
		answer = func(context.Context) error { return nil }
		pass(6 * time.Second)
		if l := only(t, live).DeadLetters; l[0].Form != console.FormJSON || l[3].Form != console.FormText || asked != 6 {
			t.Errorf("forms %s and %s, asked %d times", l[0].Form, l[3].Form, asked)
		}
	})
}

// A serde that panics, and values that say nothing as JSON, are shown as they came.
func TestOddValues(t *testing.T) {
	var answer func(context.Context) error
	asked := 0
	p := refusing(stubborn{serde.JSON[order](), &answer, &asked})
	c, live := cluster(p, 1), newConsole(t, console.Config{})
	c.Feed("in", bytesOf(nil, []byte(`{"id":"a"}`)))
	pipelinetest.Run(t, p, c, observed(live))
	answer = func(context.Context) error { panic("in a serde") }
	if l := only(t, live).DeadLetters[0]; l.Form != console.FormText || l.Value != `{"id":"a"}` {
		t.Errorf("%+v", l)
	}

	q := pipeline.New("p", pipeline.DeadLetter("dlq"))
	in := pipeline.From(q, "in", pipeline.Serde[opaque](opaqueSerde{}))
	pipeline.To(stages.Check(in, "check", func(opaque) error { return errNo }), "out", pipeline.Serde[opaque](opaqueSerde{}))
	for i, l := range letters(t, console.Config{}, q, bytesOf(nil, []byte("quiet")), bytesOf(nil, []byte("panics")), bytesOf(nil, []byte("fails"))) {
		if l.Form != console.FormText || l.Value != []string{"fails", "panics", "quiet"}[i] {
			t.Errorf("%+v", l)
		}
	}
}

type opaque struct{ text string }

func (o opaque) MarshalJSON() ([]byte, error) {
	switch o.text {
	case "panics":
		panic("in MarshalJSON")
	case "fails":
		return nil, errNo
	}
	return []byte("{}"), nil
}

var _ json.Marshaler = opaque{}

type opaqueSerde struct{}

func (opaqueSerde) Append(_ context.Context, dst []byte, _ pipeline.Slot, o opaque) ([]byte, error) {
	return append(dst, o.text...), nil
}

func (opaqueSerde) Decode(_ context.Context, _ pipeline.Slot, data []byte) (opaque, error) {
	return opaque{string(data)}, nil
}
