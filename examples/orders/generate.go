package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

// fault is what is wrong with a generated order.
type fault int

const (
	noFault fault = iota
	garbage
	truncated
	unknownSchema
	emptyValue
	nullValue
	badAmount
	badCurrency
	unknownCustomer
	faults // how many there are
)

const (
	generatedCustomers = 1000
	// faultEvery makes one order in so many a bad one; the faults take turns.
	faultEvery = 60
	// unknownID is a schema id that no registry has given: they count from 1.
	unknownID = 1<<31 - 1
)

// generator makes customers and orders. The same seed makes the same ones, byte
// for byte, but for the schema ids that the registry gives.
type generator struct {
	seed      uint64
	rng       *rand.Rand
	made      int // orders
	orders    pipeline.Serde[Order]
	customers pipeline.Serde[Customer]
}

func newGenerator(registry *registry.Client, seed uint64) *generator {
	return &generator{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0)),
		orders:    serde.Avro[Order](registry, serde.Schema(orderAvsc)),
		customers: serde.Avro[Customer](registry, serde.Schema(customerAvsc)),
	}
}

func pick[T any](g *generator, from ...T) T { return from[g.rng.IntN(len(from))] }

func customerID(i int) string { return fmt.Sprintf("cust-%05d", i) }

// customer makes the record of customer number i.
func (g *generator) customer(ctx context.Context, i int) (pipeline.Output, error) {
	c := Customer{
		CustomerID: customerID(i),
		Name:       pick(g, "Ada", "Grace", "Edsger", "Barbara", "Alan", "Frances") + " " + pick(g, "Miller", "Weir", "Sluice", "Penstock", "Race"),
		Tier:       pick(g, TierStandard, TierStandard, TierStandard, TierGold),
		Country:    pick(g, "US", "DE", "IN", "FR", "SG"),
	}
	value, err := g.customers.Append(ctx, []byte{}, pipeline.Slot{Topic: "customers"}, c)
	return pipeline.Output{Topic: "customers", Key: []byte(c.CustomerID), Value: value}, err
}

// order makes the record of the next order, and says what is wrong with it.
func (g *generator) order(ctx context.Context) (out pipeline.Output, f fault, err error) {
	i := g.made
	g.made++
	if i%faultEvery == faultEvery-1 {
		f = 1 + fault(i/faultEvery)%(faults-1)
	}
	o := g.valid(i)
	switch f {
	case badAmount:
		o.AmountCents = -o.AmountCents * int64(g.rng.IntN(2)) // negative or 0
	case badCurrency:
		o.Currency = pick(g, "", "usd", "EURO", "U$")
	case unknownCustomer:
		o.CustomerID, o.Status = customerID(generatedCustomers+g.rng.IntN(1000)), StatusPaid
	}
	out = pipeline.Output{Topic: "orders", Key: []byte(o.Region + ":" + o.OrderID), Headers: pipeline.Headers{
		{Key: "source", Value: []byte("examples/orders")},
		{Key: "traceparent", Value: fmt.Appendf(nil, "00-%016x%016x-%016x-01", g.rng.Uint64(), g.rng.Uint64(), g.rng.Uint64())},
	}}
	if out.Value, err = g.orders.Append(ctx, []byte{}, pipeline.Slot{Topic: "orders"}, o); err != nil {
		return out, f, err
	}
	switch f {
	case garbage:
		out.Value = []byte(`{"order_id":"` + o.OrderID + `"}`)
	case truncated:
		out.Value = out.Value[:len(out.Value)/2]
	case unknownSchema:
		binary.BigEndian.PutUint32(out.Value[1:], unknownID)
	case emptyValue:
		out.Value = []byte{}
	case nullValue:
		out.Value = nil
	}
	return out, f, nil
}

// firstOrder is when the first generated order was created.
var firstOrder = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func (g *generator) valid(i int) Order {
	o := Order{
		OrderID:     fmt.Sprintf("%d-%07d", g.seed, i),
		CustomerID:  customerID(g.rng.IntN(generatedCustomers)),
		Region:      pick(g, "us-east", "us-east", "us-east", "us-west", "us-west", "eu-west", "eu-west", "ap-south"),
		AmountCents: 100 + g.rng.Int64N(reviewCents-100),
		Status:      StatusPaid,
		CreatedAt:   firstOrder.Add(time.Duration(i) * 250 * time.Millisecond),
	}
	switch o.Region {
	case "eu-west":
		o.Currency = "EUR"
	case "ap-south":
		o.Currency = "INR"
	default:
		o.Currency = "USD"
	}
	switch chance := g.rng.IntN(100); {
	case chance < 10:
		o.Status = StatusNew
	case chance < 15:
		o.Status = StatusCancelled
	case chance < 18:
		o.AmountCents += reviewCents
	}
	return o
}

// generate writes the customers and then n orders with an idempotent producer:
// kafka.Sink, which a pipeline ends in, works on its own, too.
func generate(ctx context.Context, cfg kafka.Config, registry *registry.Client, n int, seed uint64, progress io.Writer) (err error) {
	w, err := newBatchWriter(ctx, cfg, progress)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.sink.Close(); err == nil {
			err = cerr
		}
	}()
	g := newGenerator(registry, seed)
	for i := 0; i < generatedCustomers && w.err == nil; i++ {
		w.add(g.customer(ctx, i))
	}
	w.flush() // an order never arrives before its customer
	for i := 0; i < n && w.err == nil; i++ {
		out, _, err := g.order(ctx)
		w.add(out, err)
	}
	w.flush()
	if w.err != nil {
		return fmt.Errorf("generate: %w", w.err)
	}
	return nil
}

// batchWriter hands outputs to a sink a batch at a time and waits for each batch,
// which bounds what is in memory. After an error it does nothing more.
type batchWriter struct {
	ctx      context.Context
	sink     *kafka.Sink
	progress io.Writer
	batch    []pipeline.Output
	written  int
	said     time.Time
	err      error
}

const generatedBatch = 10_000

func newBatchWriter(ctx context.Context, cfg kafka.Config, progress io.Writer) (*batchWriter, error) {
	sink := kafka.NewSink(cfg)
	_, err := sink.Open(ctx, pipeline.Spec{Pipeline: "orders-generator", Guarantee: pipeline.AtLeastOnce, Outputs: []string{"customers", "orders"}})
	if err != nil {
		_ = sink.Close() // the error is why
		return nil, fmt.Errorf("generate: %w", err)
	}
	return &batchWriter{ctx: ctx, sink: sink, progress: progress, said: time.Now()}, nil
}

func (w *batchWriter) add(out pipeline.Output, err error) {
	if w.err != nil {
		return
	}
	if w.err = err; err != nil {
		return
	}
	if w.batch = append(w.batch, out); len(w.batch) == generatedBatch {
		w.flush()
	}
}

func (w *batchWriter) flush() {
	if w.err == nil {
		w.err = w.sink.Send(w.ctx, w.batch)
	}
	if w.err == nil {
		w.err = w.sink.Flush(w.ctx)
	}
	if w.err != nil {
		return
	}
	w.written += len(w.batch)
	w.batch = w.batch[:0]
	if now := time.Now(); now.Sub(w.said) >= progressEvery {
		w.said = now
		fmt.Fprintf(w.progress, "generated %s records\n", thousands(int64(w.written)))
	}
}
