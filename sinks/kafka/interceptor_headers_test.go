package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// byHeaders is a HeadersInterceptor that takes notes of the header number.
type byHeaders struct {
	kafka.InterceptorFuncs
	plain   journal[kafka.Result]
	numbers journal[string]
}

func (b *byHeaders) OnAcknowledgement(r kafka.Result, _ error) { b.plain.add(r) }

func (b *byHeaders) OnAcknowledgementHeaders(r kafka.Result, headers pipeline.Headers, err error) {
	number, _ := headers.Get("number")
	b.numbers.add(fmt.Sprintf("%s %s@%d %v", number, r.Topic, r.Offset, err))
	panic("bad night") // counted, and nothing else
}

// The outcome comes with the headers that were sent, in the place of the one without.
func TestAcknowledgementsWithHeaders(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			c.Produce(numbered("in", 0, 50)...)
			notes, n := &byHeaders{}, 0 // one partition, so one goroutine
			notes.Send = func(o *kafka.Outgoing) error {
				o.Headers = o.Headers.Set("number", fmt.Append(nil, n))
				n++
				return nil
			}
			var stats pipeline.Stats
			cfg := c.config()
			cfg.Delivery, cfg.Stats, cfg.Interceptors = g, &stats, []kafka.Interceptor{notes}
			noError(t, run(t, copying("copy"), cfg), "run")
			var want []string
			for i, r := range c.ReadAll("out") {
				want = append(want, fmt.Sprintf("%d out@%d <nil>", i, r.Offset))
			}
			if got := notes.numbers.list(); len(want) != 50 || !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if got := notes.plain.list(); len(got) != 0 || stats.Snapshot().InterceptorFailures != 50 {
				t.Errorf("%d without headers, %d failures", len(got), stats.Snapshot().InterceptorFailures)
			}
		})
	}
}

// A producer without a pipeline tells of headers, too: as they were sent, whatever the
// caller does with them afterwards, and for records that are not taken.
func TestProducersAcknowledgementsWithHeaders(t *testing.T) {
	t.Parallel()
	for _, letters := range []bool{false, true} {
		c := out(t, 1)
		notes := &byHeaders{}
		notes.Send = func(o *kafka.Outgoing) error {
			o.Headers = o.Headers.Add("other", nil)
			return nil
		}
		settings := kafka.ProducerSettings{Interceptors: []kafka.Interceptor{notes}, Logger: silent, MaxHeaders: 2}
		if letters {
			settings.DeadLetter = func(kafka.Record, *kafka.DeliveryError) {}
		}
		p := c.producer(settings)
		number := func(v string) pipeline.Headers { return pipeline.Headers{{Key: "number", Value: []byte(v)}} }
		for _, v := range []string{"a", "b"} {
			r := kafka.Record{Topic: "out", Headers: number(v)}
			noError(t, p.Send(t.Context(), r, nil), "send")
			r.Headers[0].Value[0], r.Headers[0].Key = 'x', "x"
		}
		noError(t, p.Flush(t.Context()), "flush")
		wantError(t, p.Send(t.Context(), kafka.Record{Topic: "out", Headers: number("c").Add("more", nil)}, nil), kafka.ErrHeaders)
		text := kafka.For(p, "out", undecided{}, kafka.HeadersOf(func(string) pipeline.Headers { return number("d") }))
		wantError(t, text.Send(t.Context(), "v", nil), kafka.ErrEncode)
		got := notes.numbers.list()
		if len(got) != 4 || got[0] != "a out@0 <nil>" || got[1] != "b out@1 <nil>" ||
			!strings.HasPrefix(got[2], "c out@-1 out: ") || !strings.HasPrefix(got[3], "d out@-1 out: ") {
			t.Errorf("letters %v: %q", letters, got)
		}
		if plain := notes.plain.list(); len(plain) != 0 {
			t.Errorf("%d without headers", len(plain))
		}
	}
}

// undecided cannot encode.
type undecided struct{ pipeline.Serde[string] }

func (undecided) Append(context.Context, []byte, pipeline.Slot, string) ([]byte, error) {
	return nil, errors.New("neither")
}

// OnSend has the context of the send.
func TestInterceptorsHaveTheSendersContext(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	type key struct{}
	var seen []any
	look := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
		seen = append(seen, o.Context().Value(key{}))
		return nil
	}}
	p := c.producer(kafka.ProducerSettings{Interceptors: []kafka.Interceptor{look}, TransactionalID: "t"})
	text := kafka.For(p, "out", serde.String())
	with := func(v string) context.Context { return context.WithValue(t.Context(), key{}, v) }
	noError(t, p.InTransaction(with("none"), func(tx *kafka.Transaction) error {
		return errors.Join(
			tx.Send(with("send"), kafka.Record{Topic: "out"}, nil),
			text.In(tx).Send(with("typed"), "v", nil),
		)
	}), "transaction")
	if want := []any{"send", "typed"}; !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
}
