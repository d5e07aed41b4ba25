// Command transactions writes all or nothing, to two topics, and reads what is committed.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const (
	invoices = "leat-example-transactions-invoices"
	ledger   = "leat-example-transactions-ledger"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: invoices}, embedded.Topic{Name: ledger})
	if err != nil {
		return err
	}
	defer c.Stop()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: c.Brokers,
		// This producer's own, and the same after a restart, which so ends what it left open.
		TransactionalID: "leat-example-transactions",
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	for _, order := range []string{"order-1", "order-2", "order-3"} {
		err := p.InTransaction(ctx, func(tx *kafka.Transaction) error {
			// Send, SendMany and a typed front's In(tx) are there, too. Acknowledged is not
			// committed yet.
			if _, err := tx.SendSync(ctx, kafka.Record{Topic: invoices, Key: []byte(order)}); err != nil {
				return err
			}
			if order == "order-2" {
				return errors.New("its customer is unknown") // nobody will see the invoice
			}
			return tx.Send(ctx, kafka.Record{Topic: ledger, Key: []byte(order)}, nil)
		})
		switch {
		case err == nil:
			fmt.Println(order, "is committed")
		case errors.Is(err, kafka.ErrUnknownOutcome):
			return err // look whether it is there before it is run again
		default:
			fmt.Println(order, "is aborted:", err)
		}
	}

	// A record that is not taken fails the whole transaction, also if nobody looks.
	err = p.InTransaction(ctx, func(tx *kafka.Transaction) error {
		_ = tx.Send(ctx, kafka.Record{Topic: invoices, Key: []byte("order-4"), Partitioner: kafka.ToPartition(9)}, nil)
		return tx.Send(ctx, kafka.Record{Topic: ledger, Key: []byte("order-4")}, nil)
	})
	fmt.Println("order-4 is aborted:", errors.Is(err, kafka.ErrAborted), "for an error that is", kafka.ClassOf(err))

	for _, topic := range []string{invoices, ledger} {
		committed, err := c.Read(ctx, topic, 2)
		if err != nil {
			return err
		}
		for _, r := range committed {
			fmt.Printf("read_committed: %s %s\n", topic, r.Key)
		}
	}
	all, err := c.ReadUncommitted(ctx, invoices, 3)
	for _, r := range all {
		fmt.Printf("read_uncommitted: %s %s\n", invoices, r.Key)
	}
	return err
}
