package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"github.com/leat-stream/leat/sinks/kafka"
)

// topic is where the orders wait.
const topic = "orders"

// order is a line of the file. The amount is as it stands there: the pipeline looks at it.
type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Placed   string `json:"placed"`
	Amount   string `json:"amount"`
}

// load writes the lines of a CSV file to the topic, all of them or none: they are one
// transaction, which a reader sees when it is committed. A file that is too large for that is
// cut into several; then remember in the last record of each how far it went.
func load(ctx context.Context, brokers []string, input io.Reader) (n int, err error) {
	producer, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers, Topics: []string{topic}, TransactionalID: "etl-load", // whatever an earlier one left open ends
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, producer.Close(context.WithoutCancel(ctx))) }()
	err = producer.InTransaction(ctx, func(tx *kafka.Transaction) error {
		lines := csv.NewReader(input)
		lines.FieldsPerRecord = 4
		if _, err := lines.Read(); err != nil { // the names of the columns
			return err
		}
		for n = 0; ; n++ {
			line, err := lines.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			value, err := orders.Append(ctx, nil, slot, order{line[0], line[1], line[2], line[3]})
			if err != nil {
				return err
			}
			if err := tx.Send(ctx, kafka.Record{Topic: topic, Key: []byte(line[1]), Value: value}, nil); err != nil {
				return fmt.Errorf("order %d: %w", n+1, err)
			}
		}
	})
	return n, err
}
