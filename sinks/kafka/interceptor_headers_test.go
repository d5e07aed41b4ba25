package kafka_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leat-stream/leat/pipeline"
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
