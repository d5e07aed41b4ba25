// Command interceptors has several of them look at every record. One fails: it is counted,
// and the record is sent without it, so interceptors are no place to validate.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-interceptors"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic})
	if err != nil {
		return err
	}
	defer c.Stop()

	host, err := kafka.StampHost("mill-1") // "" is this host's name
	if err != nil {
		return err
	}
	var failures kafka.ErrorCounter
	var latency kafka.LatencyHistogram
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: c.Brokers,
		// The first sees a record first; each sees what those before it have changed.
		Interceptors: []kafka.Interceptor{audit{}, kafka.StampSendTime(), host, broken, &failures, &latency},
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)), // it would say, once a minute, that one is broken
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	if _, err := p.SendSync(ctx, kafka.Record{Topic: topic, Key: []byte("order-1"), Value: []byte("{}")}); err != nil {
		return err
	}
	// They are told of failures, too.
	if _, err := p.SendSync(ctx, kafka.Record{Topic: topic, Partitioner: kafka.ToPartition(9)}); err == nil {
		return fmt.Errorf("%s has a partition 9", topic)
	}

	written, err := c.Read(ctx, topic, 1)
	if err != nil {
		return err
	}
	for _, h := range written[0].Headers {
		fmt.Printf("header %s, %d bytes\n", h.Key, len(h.Value))
	}
	fmt.Println("failures of interceptors:", p.Metrics().InterceptorFailures)
	fmt.Println("errors:", failures.Count(topic))
	fmt.Println("latencies:", latency.Count(), "the median is known:", latency.Quantile(0.5) > 0)
	return p.Close(ctx)
}

// audit is an interceptor of our own. Both methods run for every record: keep them short.
type audit struct{}

// OnSend runs before anything is encoded, on the caller's goroutine. It may change topic,
// headers and timestamp.
func (audit) OnSend(o *kafka.Outgoing) error {
	fmt.Printf("to be sent: %q\n", o.Key())
	o.Headers = o.Headers.Add("audited", []byte("yes"))
	return nil
}

// OnAcknowledgement runs before the record's callback, on the same goroutine.
func (audit) OnAcknowledgement(r kafka.Result, err error) {
	fmt.Printf("acknowledged: %v\n", err == nil)
}

// Close is called with the producer's.
func (audit) Close() error {
	fmt.Println("closed")
	return nil
}

var broken = kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
	o.Topic = "nowhere" // undone
	panic("out of order")
}}
