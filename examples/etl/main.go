// Command etl loads a CSV file into a Kafka topic, and the topic into SQLite: each order once, also if
// it is killed at any time and started again. Kafka runs in this process unless -brokers names one.
//
//	go run ./examples/etl
//	go run ./examples/etl -csv orders.csv -db orders.db -brokers localhost:9092
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/leat-stream/leat/embedded"
)

//go:embed orders.csv
var sample string

func main() {
	csvFile := flag.String("csv", "", "the `file` to load; default: the sample of this example")
	dbFile := flag.String("db", "", "the SQLite `file` to load it into; default: a new one, which is removed at the end")
	brokers := flag.String("brokers", "", "bootstrap `addresses` of a Kafka that has the topic orders; default: one in this process")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *csvFile, *dbFile, *brokers); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, csvFile, dbFile, brokers string) error {
	input := io.Reader(strings.NewReader(sample))
	if csvFile != "" {
		f, err := os.Open(csvFile)
		if err != nil {
			return err
		}
		defer f.Close()
		input = f
	}
	if dbFile == "" {
		dir, err := os.MkdirTemp("", "leat-etl-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dbFile = filepath.Join(dir, "orders.db")
	}
	addresses := strings.Split(brokers, ",")
	if brokers == "" {
		cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: topic, Partitions: 2}}})
		if err != nil {
			return err
		}
		defer cluster.Close()
		addresses = cluster.Brokers()
	}
	db, err := openDB(ctx, dbFile)
	if err != nil {
		return err
	}
	defer db.Close()

	n, err := load(ctx, addresses, input)
	if err != nil {
		return fmt.Errorf("from CSV to Kafka: %w", err)
	}
	fmt.Fprintf(out, "%d orders from CSV to the topic %q\n", n, topic)
	for _, run := range []string{"first", "second"} { // the second has nothing left to do
		if err := store(ctx, addresses, db); err != nil {
			return fmt.Errorf("from Kafka to SQLite: %w", err)
		}
		fmt.Fprintf(out, "\nin SQLite after the %s run:\n", run)
		if err := report(ctx, db, out); err != nil {
			return err
		}
	}
	return nil
}
