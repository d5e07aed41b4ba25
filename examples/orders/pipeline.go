package main

import (
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// regions are the partitions of orders.enriched: each region has one for itself.
var regions = map[string]int32{"us-east": 0, "us-west": 1, "eu-west": 2, "ap-south": 3}

// ordersByRegion is the job. Building it starts nothing; kafka.Run does.
func ordersByRegion(registry *registry.Client) *pipeline.Pipeline {
	p := pipeline.New("orders-by-region", pipeline.DeadLetter("orders.dlq"))
	customers := pipeline.Table(p, "customers", serde.String(), serde.Avro[Customer](registry, serde.Schema(customerAvsc)))
	orders := pipeline.From(p, "orders", serde.Avro[Order](registry, serde.Schema(orderAvsc)))
	valid := stages.Check(orders, "validate", Order.Validate)
	paid := stages.Filter(valid, "paid", Order.Paid)
	full := stages.Enrich(paid, "customer", Order.CustomerKey, customers, Order.WithCustomer)
	review, rest := stages.Split(full, "review", EnrichedOrder.NeedsReview)
	enriched := serde.Avro[EnrichedOrder](registry, serde.Schema(enrichedAvsc))
	pipeline.To(review, "orders.review", enriched)
	pipeline.To(rest, "orders.enriched", enriched, pipeline.PartitionBy(kafka.ByRegion(regions)))
	return p
}
