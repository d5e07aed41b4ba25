package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// The whole way: a pipeline's own letters, redriven while it is as wrong as before, and
// again when it is mended.
func TestRedriveForAPipeline(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	for i := range 6 {
		p.Produce(&kgo.Record{Topic: "orders", Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	mended := false
	work := func() {
		t.Helper()
		pl := pipeline.New("pricing", pipeline.DeadLetter("orders.dlq"))
		in := pipeline.From(pl, "orders", serde.String())
		pipeline.To(stages.Check(in, "rate", func(v string) error {
			if strings.ContainsAny(v, "135") && !mended {
				return errors.New("no rate")
			}
			return nil
		}), "else", serde.String())
		if err := kafka.Run(t.Context(), pl, kafka.Config{Brokers: p.fake.Brokers(), UntilEnd: true}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(says string) {
		t.Helper()
		o := p.run(t, "list")
		o.want(t, 0)
		if !strings.HasPrefix(o.stdout, "orders.dlq: "+says) {
			t.Errorf("it lists %s, want %s", o.stdout, says)
		}
	}
	work()
	p.wantValues(t, "else", 0, 2, 4)
	list("3 open, 3 of them match; 0 redriven, 0 foreign\n")
	if o := p.run(t, "show", "-limit", "1"); !strings.Contains(o.stdout, `{"pipeline":"pricing","stage":"rate","error":"no rate","topic":"orders",`) {
		t.Errorf("it shows %s", o.stdout)
	}
	p.run(t, "redrive", "-execute").want(t, 0)
	list("0 open, 0 of them match; 3 redriven, 0 foreign\n")
	work()
	list("3 open, 3 of them match; 3 redriven, 0 foreign\n")
	o := p.run(t, "redrive", "-execute", "-max-redrives", "1")
	o.want(t, 0)
	if !strings.Contains(o.stdout, "redriven: 0 of 3 open letters") || !strings.Contains(o.stdout, "3 redriven 1 times already") {
		t.Errorf("loops are not left out: %s", o.stdout)
	}
	mended = true
	p.run(t, "redrive", "-execute", "-max-redrives", "2").want(t, 0)
	work()
	p.wantValues(t, "else", 0, 1, 2, 3, 4, 5)
	list("0 open, 0 of them match; 6 redriven, 0 foreign\n")
}
