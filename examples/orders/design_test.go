package main

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// twentyLines is what a whole program's job looks like, kept as the documentation
// shows it: this must compile and run.
func twentyLines(ctx context.Context, brokers []string, registry *registry.Client) error {
	p := pipeline.New("orders-by-region", pipeline.DeadLetter("orders.dlq")) // names the topic and makes dead-lettering the policy
	customers := pipeline.Table(p, "customers", serde.String(), serde.Avro[Customer](registry, serde.Schema(customerAvsc)))
	orders := pipeline.From(p, "orders", serde.Avro[Order](registry, serde.Schema(orderAvsc)))
	valid := stages.Check(orders, "validate", Order.Validate) // func(Order) error
	paid := stages.Filter(valid, "paid", Order.Paid)          // func(Order) bool
	full := stages.Enrich(paid, "customer", Order.CustomerKey, customers, Order.WithCustomer)
	review, rest := stages.Split(full, "review", EnrichedOrder.NeedsReview)
	enriched := serde.Avro[EnrichedOrder](registry, serde.Schema(enrichedAvsc))
	pipeline.To(review, "orders.review", enriched)
	pipeline.To(rest, "orders.enriched", enriched, pipeline.PartitionBy(kafka.ByRegion(regions)))
	err := kafka.Run(ctx, p, kafka.Config{Brokers: brokers}) // exactly once is the zero value
	return err
}

func TestTwentyLines(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t)
	produce(t, s, 600)
	a := newAuditor(t, s)
	want := 0
	input := readAll(t, s.brokers, "orders", "customers")
	for _, r := range input["customers"] {
		a.customers[string(r.Key)] = flatCustomer{}
	}
	for _, r := range input["orders"] {
		if a.judge(r).topic != "" {
			want++
		}
	}

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- twentyLines(ctx, s.brokers, s.client(t)) }()

	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(outputTopics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	check(t, err)
	defer client.Close()
	for got := 0; got < want; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %d of %d: %v", got, want, err)
		}
		got += fetches.NumRecords()
	}
	stop()
	check(t, <-ended)
	audit(t, s)
}
