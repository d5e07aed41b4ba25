package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
	"github.com/leat-stream/leat/stages"
	sqltable "github.com/leat-stream/leat/tables/sql"
)

var (
	orders = serde.JSON[order]()
	sales  = serde.JSON[sale]()
	slot   = pipeline.Slot{Topic: topic}
)

// sale is what is stored of an order.
type sale struct {
	ID, Customer, Country, Placed string
	Cents                         int64
}

// store runs the pipeline from the topic to the database until nothing is left.
func store(ctx context.Context, brokers []string, db *sql.DB) error {
	p, err := build(db)
	if err != nil {
		return err
	}
	source := kafkasource.New(kafkasource.Config{Brokers: brokers, UntilEnd: true, Logger: slog.New(slog.DiscardHandler)})
	sink := sqlsink.New(sqlsink.Config{
		DB: db, Dialect: sqlsink.SQLite,
		Writers: []sqlsink.Writer{
			sqlsink.Write("sales", sales, insertSale),
			sqlsink.Write("rejected", orders, insertRejected),
		},
	})
	return pipeline.Run(ctx, p, source, sink) // exactly once, or Run says that it cannot
}

// build is the graph. Its outputs are no topics here, but what the sink has a writer for.
func build(db *sql.DB) (*pipeline.Pipeline, error) {
	countries, err := sqltable.New(sqltable.Config[string, string]{
		DB: db, Dialect: sqltable.SQLite, Query: "SELECT id, country FROM customers WHERE id IN (?)",
		Scan: func(rows *sql.Rows) (id, country string, err error) {
			err = rows.Scan(&id, &country)
			return id, country, err
		},
	})
	if err != nil {
		return nil, err
	}
	p := pipeline.New("etl", pipeline.DeadLetter("rejected"))
	in := pipeline.From(p, topic, orders)
	priced := stages.Map(in, "amount", order.sale)
	full := stages.EnrichAsync(priced, "country", func(s sale) string { return s.Customer }, countries,
		func(s sale, country string) sale { s.Country = country; return s }, stages.AsyncConfig{BatchSize: 100})
	pipeline.To(full, "sales", sales)
	return p, nil
}

// sale reads the amount.
func (o order) sale() (sale, error) {
	amount, err := strconv.ParseFloat(o.Amount, 64)
	if err != nil {
		return sale{}, fmt.Errorf("the amount is no number")
	}
	return sale{ID: o.ID, Customer: o.Customer, Placed: o.Placed, Cents: int64(amount*100 + 0.5)}, nil
}

// insertSale adds a sale, and adds it to its country's total: an update that would show each
// repetition.
func insertSale(ctx context.Context, tx *sql.Tx, r *pipeline.Record[sale]) error {
	s := &r.Value
	if _, err := tx.ExecContext(ctx, "INSERT INTO sales (id, customer, placed, cents) VALUES (?, ?, ?, ?)", s.ID, s.Customer, s.Placed, s.Cents); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO totals (country, orders, cents) VALUES (?, 1, ?)
		ON CONFLICT (country) DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents`, s.Country, s.Cents)
	return err
}

// insertRejected keeps a dead letter, with the reason from its headers.
func insertRejected(ctx context.Context, tx *sql.Tx, r *pipeline.Record[order]) error {
	reason, _ := r.Headers.Get(pipeline.HeaderError)
	_, err := tx.ExecContext(ctx, "INSERT INTO rejected (id, reason) VALUES (?, ?)", r.Value.ID, string(reason))
	return err
}
