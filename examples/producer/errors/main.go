// Command errors shows what can become of a record that is not written, how the error's
// class says what to do, and a dead-letter topic for what nobody will send again.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

const (
	topic       = "leat-example-errors"
	deadLetters = "leat-example-errors-dlq"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx,
		embedded.Topic{Name: topic, Config: map[string]string{"max.message.bytes": "10000"}},
		embedded.Topic{Name: deadLetters})
	if err != nil {
		return err
	}
	defer c.Stop()

	var p *kafka.Producer
	p, err = kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: c.Brokers,
		// What may pass, replicas that are missing, a leader that moves, a time-out, is tried
		// again until DeliveryTimeout (2 min), with pauses that double from RetryBackoff.
		Producer: kafka.ProducerConfig{Compression: kafka.NoCompression},
		// Given records that were taken and not written, before their callbacks.
		DeadLetter: func(r kafka.Record, reason *kafka.DeliveryError) {
			if r.Topic == deadLetters {
				fmt.Println("lost:", reason)
				return
			}
			r.Headers = r.Headers.Add("reason", []byte(reason.Class.String())).Add("topic", []byte(r.Topic))
			r.Topic = deadLetters
			if err := p.Send(ctx, r, nil); err != nil {
				fmt.Println("lost:", err)
			}
		},
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	for _, r := range []struct {
		what   string
		record kafka.Record
	}{
		{"good", kafka.Record{Topic: topic, Key: []byte("order-1"), Value: []byte("{}")}},
		{"too large for the topic", kafka.Record{Topic: topic, Key: []byte("order-2"), Value: make([]byte, 20_000)}},
		{"too large for the producer", kafka.Record{Topic: topic, Value: make([]byte, 2<<20)}},
		{"no such partition", kafka.Record{Topic: topic, Partitioner: kafka.ToPartition(9)}},
		{"no such topic", kafka.Record{Topic: "leat-example-errors-none"}},
	} {
		err := p.Send(ctx, r.record, func(_ kafka.Result, err error) { classify(r.what, "told to the callback", err) })
		if err != nil {
			classify(r.what, "not taken", err)
		}
		_ = p.Flush(ctx) // one after another, to be read; what it returns the callback has been told, too
	}
	amounts := kafka.For(p, topic, serde.JSON[float64]())
	classify("not encodable", "not taken", amounts.Send(ctx, math.NaN(), nil))

	if err := noRoom(ctx, c.Brokers); err != nil {
		return err
	}

	// Flush waits for what the hook has sent as well, and reports failures, once.
	fmt.Println("flush:", p.Flush(ctx))
	dead, err := c.Read(ctx, deadLetters, 1)
	if err != nil {
		return err
	}
	for _, r := range dead {
		fmt.Printf("dead letter: %s, %s\n", r.Key, r.Headers[0].Value)
	}
	return nil
}

// classify is what a service does with an outcome.
func classify(what, how string, err error) {
	if err == nil {
		fmt.Printf("%s: written\n", what)
		return
	}
	advice := ""
	switch kafka.ClassOf(err) {
	case kafka.Retriable: // it may be there if it was sent: tried until DeliveryTimeout
		advice = "send it later, or alert"
	case kafka.RecordFault: // never, whoever tries
		advice = "put it aside"
	case kafka.Fatal: // rights, versions, a topic that is missing
		advice = "stop and fix the cause"
	case kafka.Recoverable, kafka.Abortable:
		advice = "go on with a new producer, or transaction"
	}
	code, attempts := int16(0), 0
	if e, ok := errors.AsType[*kafka.DeliveryError](err); ok {
		code, attempts = e.Code(), e.Attempts
	}
	fmt.Printf("%s: %s, attempts %d, Kafka's code %d, %v: %s\n", what, how, attempts, code, kafka.ClassOf(err), advice)
}

// noRoom has a producer that may hold one record, and is closed.
func noRoom(ctx context.Context, brokers []string) error {
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers, MaxPending: 1, Producer: kafka.ProducerConfig{MaxBlock: kafka.NoWait, Linger: time.Minute},
	})
	if err != nil {
		return err
	}
	record := kafka.Record{Topic: topic, Key: []byte("order-3")}
	if err := p.Send(ctx, record, nil); err != nil {
		return err
	}
	classify("no room", "not taken", p.Send(ctx, record, nil))
	if err := p.Close(ctx); err != nil {
		return err
	}
	classify("closed", "not taken", p.Send(ctx, record, nil))
	return nil
}
