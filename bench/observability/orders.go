//go:build unix

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// What examples/orders has, as short as it goes.
const (
	orderAvsc = `{"type":"record","name":"Order","fields":[` + orderFields + `]}`

	orderFields = `{"name":"order_id","type":"string"},{"name":"customer_id","type":"string"},{"name":"region","type":"string"},
		{"name":"amount_cents","type":"long"},{"name":"currency","type":"string"},
		{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","CANCELLED"]}},
		{"name":"created_at","type":{"type":"long","logicalType":"timestamp-millis"}}`

	customerAvsc = `{"type":"record","name":"Customer","fields":[{"name":"customer_id","type":"string"},` + customerFields + `]}`

	customerFields = `{"name":"customer_name","type":"string"},
		{"name":"tier","type":{"type":"enum","name":"Tier","symbols":["STANDARD","GOLD"]}},{"name":"country","type":"string"}`

	enrichedAvsc = `{"type":"record","name":"EnrichedOrder","fields":[` + orderFields + `,` + customerFields + `]}`
)

type order struct {
	OrderID     string    `avro:"order_id"`
	CustomerID  string    `avro:"customer_id"`
	Region      string    `avro:"region"`
	AmountCents int64     `avro:"amount_cents"`
	Currency    string    `avro:"currency"`
	Status      string    `avro:"status"`
	CreatedAt   time.Time `avro:"created_at"`
}

type customer struct {
	CustomerID string `avro:"customer_id"`
	Name       string `avro:"customer_name"`
	Tier       string `avro:"tier"`
	Country    string `avro:"country"`
}

type enrichedOrder struct {
	order
	Name    string `avro:"customer_name"`
	Tier    string `avro:"tier"`
	Country string `avro:"country"`
}

var errAmount = errors.New("amount_cents is not positive")

func (o order) validate() error {
	if o.AmountCents <= 0 {
		return errAmount
	}
	return nil
}

func (o order) paid() bool          { return o.Status == "PAID" }
func (o order) customerKey() string { return o.CustomerID }
func (o order) withCustomer(c customer) enrichedOrder {
	return enrichedOrder{o, c.Name, c.Tier, c.Country}
}
func (o enrichedOrder) needsReview() bool { return o.AmountCents >= 1_000_000 }

var regions = map[string]int32{"us-east": 0, "us-west": 0, "eu-west": 0, "ap-south": 0}

func ordersPipeline(reg *registry.Client, opts ...pipeline.Option) *pipeline.Pipeline {
	p := pipeline.New("orders", append(opts, pipeline.DeadLetter("orders.dlq"))...)
	table := pipeline.Table(p, "customers", serde.String(), serde.Avro[customer](reg, serde.Schema(customerAvsc)))
	in := pipeline.From(p, "orders", serde.Avro[order](reg, serde.Schema(orderAvsc)))
	valid := stages.Check(in, "validate", order.validate)
	paid := stages.Filter(valid, "paid", order.paid)
	full := stages.Enrich(paid, "customer", order.customerKey, table, order.withCustomer)
	review, rest := stages.Split(full, "review", enrichedOrder.needsReview)
	enriched := serde.Avro[enrichedOrder](reg, serde.Schema(enrichedAvsc))
	pipeline.To(review, "orders.review", enriched)
	pipeline.To(rest, "orders.enriched", enriched, pipeline.PartitionBy(kafka.ByRegion(regions)))
	return p
}

const customers = 1000

func customerID(i int) string { return fmt.Sprintf("cust-%05d", i) }

func customerOf(i int) customer {
	return customer{customerID(i), "Ada Weir", []string{"STANDARD", "STANDARD", "GOLD"}[i%3], "DE"}
}

// orderOf makes one order in 500 a bad one, and four of five others paid ones.
func orderOf(i int) order {
	o := order{
		OrderID: fmt.Sprintf("1-%07d", i), CustomerID: customerID(i * 7919 % customers), Region: []string{"us-east", "us-west", "eu-west", "ap-south"}[i%4],
		AmountCents: int64(1 + i*104729%1_100_000), Currency: "USD", Status: []string{"PAID", "PAID", "NEW", "PAID", "PAID"}[i%5],
		CreatedAt: time.Date(2026, time.January, 1, 0, 0, i%86_400, 0, time.UTC),
	}
	if i%500 == 499 {
		o.AmountCents = -1
	}
	return o
}
