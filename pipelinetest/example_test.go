package pipelinetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// The pipeline under test: orders get the name of their customer.
type (
	Order    struct{ Customer, Item string }
	Customer struct{ Name string }
	Shipment struct{ Item, To string }
)

func (o Order) CustomerKey() string              { return o.Customer }
func (o Order) WithCustomer(c Customer) Shipment { return Shipment{o.Item, c.Name} }

func (o Order) Validate() error {
	if o.Item == "" {
		return errors.New("an order of nothing")
	}
	return nil
}

func shipments() *pipeline.Pipeline {
	p := pipeline.New("shipments", pipeline.DeadLetter("orders.dlq"))
	customers := pipeline.Table(p, "customers", serde.String(), serde.JSON[Customer]())
	orders := pipeline.From(p, "orders", serde.JSON[Order]())
	valid := stages.Check(orders, "validate", Order.Validate)
	full := stages.Enrich(valid, "customer", Order.CustomerKey, customers, Order.WithCustomer)
	pipeline.To(full, "shipments", serde.JSON[Shipment]())
	return p
}

// A pipeline with a table and dead letters, from its inputs to its outputs.
func Example() {
	p := shipments()
	c := pipelinetest.For(p)
	c.Feed("customers", pipelinetest.Entry(serde.String(), "c1", serde.JSON[Customer](), Customer{"Ada"}))
	c.Feed("orders",
		pipelinetest.Value(serde.JSON[Order](), Order{"c1", "tea"}).Key("o1"),
		pipelinetest.Value(serde.JSON[Order](), Order{"c1", ""}).Key("o2"),
		pipelinetest.Value(serde.JSON[Order](), Order{"c9", "milk"}).Key("o3"),
		pipelinetest.Text("o4", "{").Header("sent-by", "a stranger"),
	)
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}

	for _, s := range pipelinetest.Values(c, "shipments", serde.JSON[Shipment]()) {
		fmt.Printf("%+v\n", s)
	}
	stages := map[string]string{}
	for _, d := range c.DeadLetters("orders.dlq") {
		stages[string(d.Key)] = d.Stage
	}
	fmt.Println(stages)
	// Output:
	// {Item:tea To:Ada}
	// map[o2:validate o3:customer o4:orders]
}

// In a bubble of testing/synctest a slow service costs no time: here one that is
// down for an hour. Time-outs are those of production.
func TestExampleFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(time.Hour)
		p := pipeline.New("patient", pipeline.DeadLetter("dlq"))
		in := pipeline.From(p, "in", serde.String())
		asked := stages.CheckCtx(in, "ask", func(context.Context, string) error {
			if time.Now().Before(up) {
				return pipeline.Retriable(errors.New("the service is down"))
			}
			return nil
		})
		pipeline.To(asked, "out", serde.String())

		c := pipelinetest.For(p)
		w := c.Start(t.Context(), p)
		c.Feed("in", pipelinetest.Text("k", "v"))
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := w.Stats().Waiting; n != 1 || len(c.Records("out")) > 0 {
			t.Errorf("%d partitions wait, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(c.Records("out")) != 1 || len(c.Records("dlq")) != 0 {
			t.Error("the record should have passed, and not been given up")
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// The time-out of a commit leaves open whether it took effect. Here it did; the
// engine finds out and does nothing twice.
func ExampleCluster_Inject() {
	p := shipments()
	c := pipelinetest.For(p)
	c.Feed("customers", pipelinetest.Entry(serde.String(), "c1", serde.JSON[Customer](), Customer{"Ada"}))
	c.Feed("orders", pipelinetest.Value(serde.JSON[Order](), Order{"c1", "tea"}).On(0))
	c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, When: pipelinetest.After, Kind: pipelinetest.Ambiguous})

	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(c.Records("shipments")), "shipment,", c.Committed("shipments"))
	// Output: 1 shipment, map[orders[0]:1]
}

// Two workers share the partitions; one is moved while both run.
func ExampleCluster_Move() {
	p := pipeline.New("copy")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2)})
	ctx := context.Background()
	a := c.Start(ctx, p, pipelinetest.Instance("a"))
	b := c.Start(ctx, p, pipelinetest.Instance("b"))
	c.Move("copy", "in", 0, "b")
	c.Move("copy", "in", 1, "b")
	c.Feed("in", pipelinetest.Text("k", "v0").On(0), pipelinetest.Text("k", "v1").On(1))
	if err := c.AwaitFinished(ctx, p); err != nil {
		fmt.Println(err)
	}
	fmt.Println(a.Stop(), b.Stop(), len(c.Records("out")))
	// Output: <nil> <nil> 2
}

func ExampleText() {
	p := pipeline.New("copy")
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("key", "value").Header("h", "1").At(time.UnixMilli(1_700_000_000_000)).On(3))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	r := c.Records("out")[0]
	fmt.Printf("%s=%s %s=%s at %d\n", r.Key, r.Value, r.Headers[0].Key, r.Headers[0].Value, r.Timestamp.UnixMilli())
	// Output: key=value h=1 at 1700000000000
}
