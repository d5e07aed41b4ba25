package stages_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func TestNewMapCopies(t *testing.T) {
	entries := map[string]int{"a": 1}
	table := stages.NewMap(entries)
	entries["a"], entries["b"] = 2, 2
	if v, ok, err := table.Get(t.Context(), "a"); v != 1 || !ok || err != nil {
		t.Errorf("Get(a) = %v %v %v, want 1", v, ok, err)
	}
	if _, ok, _ := table.Get(t.Context(), "b"); ok || table.Len() != 1 {
		t.Error("the table follows the map it was made of")
	}
}

// names has the tests' entries; the key "down" fails.
var names = stages.TableFunc[string, string](func(_ context.Context, key string) (string, bool, error) {
	switch key {
	case "a":
		return "Anna", true, nil
	case "down":
		return "", false, errOops
	}
	return "", false, nil
})

func same(v string) string        { return v }
func greet(v, name string) string { return v + ":" + name }

func TestEnrich(t *testing.T) {
	for name, build := range map[string]func(stream) stream{
		"Enrich": func(s stream) stream { return stages.Enrich(s, "name", same, names, greet) },
		"EnrichCtx": func(s stream) stream {
			return stages.EnrichCtx(s, "name", func(_ context.Context, v string) (string, error) { return v, nil }, names,
				func(_ context.Context, v, name string) (string, error) { return greet(v, name), nil })
		},
		"EnrichRecord": func(s stream) stream {
			return stages.EnrichRecord(s, "name", func(_ context.Context, r *record) (string, error) { return r.Value, nil }, names,
				func(_ context.Context, r *record, name string) (record, error) {
					return pipeline.With(r, greet(r.Value, name)), nil
				})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			to(build(s))
			task := compile(t, p, "in")
			if err := task.Process(t.Context(), raw("a")); err != nil {
				t.Fatal(err)
			}
			expect(t, texts(task), "out=a:Anna")
			expectHead(t, task.Outputs()[0])

			se := stageError(t, p, "secret-key")
			if se.Stage != "name" || !errors.Is(se, pipeline.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound of stage name", se)
			}
			if strings.Contains(se.Error(), "secret") {
				t.Errorf("the error quotes the key: %v", se)
			}
			if se := stageError(t, p, "down"); !errors.Is(se, errOops) || errors.Is(se, pipeline.ErrNotFound) {
				t.Errorf("got %v, want the table's error", se)
			}
			if !strings.Contains(p.Describe(), "enrich name") {
				t.Errorf("the drawing does not call it enrich:\n%s", p.Describe())
			}
		})
	}
}

func TestEnrichOptional(t *testing.T) {
	p, s := strs()
	to(stages.EnrichOptional(s, "name", same, names, func(v, name string, found bool) string {
		if !found {
			return v + " is unknown" + name
		}
		return greet(v, name)
	}))
	expect(t, feed(t, p, "a", "x"), "out=a:Anna", "out=x is unknown")
	if se := stageError(t, p, "down"); !errors.Is(se, errOops) {
		t.Errorf("got %v, want the table's error", se)
	}
}

func TestEnrichFunctionsMayFail(t *testing.T) {
	key := func(_ context.Context, v string) (string, error) { return upper(v) }
	join := func(context.Context, string, string) (string, error) { return "", errOops }
	for _, value := range []string{"bad", "a"} { // one fails in key, one in join
		p, s := strs()
		to(stages.EnrichCtx(s, "name", key, stages.NewMap(map[string]string{"A": "x"}), join))
		if se := stageError(t, p, value); !errors.Is(se, errOops) {
			t.Errorf("%s: got %v, want the function's error", value, se)
		}
	}
	p, s := strs()
	to(stages.EnrichRecord(s, "name", func(context.Context, *record) (string, error) { return "", errOops }, names,
		func(context.Context, *record, string) (out record, err error) { return out, nil }))
	if se := stageError(t, p, "a"); !errors.Is(se, errOops) {
		t.Errorf("got %v, want the function's error", se)
	}
}

// The types are inferred from method expressions and a GlobalTable, as in the
// job at the top of the README.
func TestTypesAreInferred(t *testing.T) {
	p := pipeline.New("orders", pipeline.DeadLetter("orders.dlq"))
	customers := pipeline.Table(p, "customers", serde.String(), serde.JSON[customer]())
	orders := pipeline.From(p, "orders", serde.JSON[order]())
	valid := stages.Check(orders, "validate", order.Validate)
	paid := stages.Filter(valid, "paid", order.Paid)
	full := stages.Enrich(paid, "customer", order.CustomerKey, customers, order.WithCustomer)
	cached := stages.Enrich(paid, "cached", order.CustomerKey, stages.Cached(customers, stages.CachedConfig{}), order.WithCustomer)
	lines := stages.FlatMapEmit(full, "lines", enriched.Lines)
	review, rest := stages.Split(stages.Merge("both", full, cached), "review", enriched.NeedsReview)
	pipeline.To(stages.KeyBy(review, "key", enriched.Key, serde.String()), "orders.review", serde.JSON[enriched]())
	stages.Route(rest, "region", enriched.Topic, []string{"eu", "us"}, serde.JSON[enriched]())
	pipeline.To(lines, "lines", serde.String())
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
}

type customer struct{ Name string }

type order struct {
	Customer string
	Amount   int
}

func (o order) Validate() error                  { return nil }
func (o order) Paid() bool                       { return true }
func (o order) CustomerKey() string              { return o.Customer }
func (o order) WithCustomer(c customer) enriched { return enriched{o, c.Name} }

type enriched struct {
	order
	Name string
}

func (e enriched) NeedsReview() bool             { return e.Amount > 100 }
func (e enriched) Key() string                   { return e.Name }
func (e enriched) Topic() string                 { return "eu" }
func (e enriched) Lines(emit func(string)) error { emit(e.Name); return nil }
