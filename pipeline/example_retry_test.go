package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// A record that fails is tried again later, and those behind it do not wait for it. (Delays are
// minutes or hours as a rule.)
func ExampleRetryTopics() {
	p := pipeline.New("rates", pipeline.DeadLetter("orders.dlq"))
	orders := pipeline.From(p, "orders", serde.String(), pipeline.RetryTopics(100*time.Millisecond, 200*time.Millisecond))
	rated := stages.MapCtx(orders, "rate", func(ctx context.Context, order string) (string, error) {
		retry, _ := pipeline.RetryOf(ctx)
		if order == "EUR" && retry.Attempt < 2 {
			return "", errors.New("no rate yet")
		}
		if order == "XXX" {
			return "", errors.New("no such currency")
		}
		return fmt.Sprintf("%s after %d retries", order, retry.Attempt), nil
	}, pipeline.OnError(pipeline.RetryLater))
	pipeline.To(rated, "rated", serde.String())
	fmt.Print(p.Describe())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	c.Feed("orders", pipelinetest.Text("1", "EUR"), pipelinetest.Text("2", "XXX"), pipelinetest.Text("3", "USD"))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, v := range pipelinetest.Values(c, "rated", serde.String()) {
		fmt.Println(v)
	}
	for _, l := range c.DeadLetters("orders.dlq") {
		fmt.Printf("dead after %d retries: %s of %v: %s\n", l.Retries, l.Value, l.From, l.Error)
	}
	// Output:
	// pipeline rates (on error: dead-letter, dead letters to orders.dlq)
	// input orders (retries orders.retry.100ms after 100ms, orders.retry.200ms after 200ms)
	//   map rate (on error: retry-later)
	//     output rated
	// USD after 0 retries
	// EUR after 2 retries
	// dead after 2 retries: XXX of orders[0]@1: no such currency
}

// The first place of a record is the same at each retry: a key for effects outside of Kafka.
func ExampleRetryOf() {
	p := pipeline.New("mail", pipeline.DeadLetter("mails.dlq"), pipeline.OnError(pipeline.RetryLater))
	mails := pipeline.From(p, "mails", serde.String(), pipeline.RetryTopics(100*time.Millisecond))
	sent := stages.MapRecord(mails, "send", func(ctx context.Context, r *pipeline.Record[string]) (pipeline.Record[string], error) {
		key := r.Origin
		retry, again := pipeline.RetryOf(ctx)
		if again {
			key = retry.First
		}
		fmt.Println("send once for", key)
		if !again {
			return *r, errors.New("no answer")
		}
		return *r, nil
	})
	pipeline.To(sent, "sent", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	c.Feed("mails", pipelinetest.Text("k", "hello"))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	// Output:
	// send once for mails[0]@0
	// send once for mails[0]@0
}

// The records of a key keep their order: the update waits behind the create that failed.
func ExampleRetryInOrder() {
	p := pipeline.New("accounts", pipeline.DeadLetter("events.dlq"), pipeline.OnError(pipeline.RetryLater))
	events := pipeline.From(p, "events", serde.String(), pipeline.RetryInOrder(100*time.Millisecond))
	booked := stages.CheckCtx(events, "book", func(ctx context.Context, event string) error {
		if _, again := pipeline.RetryOf(ctx); event == "create Ann" && !again {
			return errors.New("not now")
		}
		return nil
	})
	pipeline.To(booked, "booked", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	c.Feed("events", pipelinetest.Text("Ann", "create Ann"), pipelinetest.Text("Bob", "create Bob"), pipelinetest.Text("Ann", "update Ann"))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, v := range pipelinetest.Values(c, "booked", serde.String()) {
		fmt.Println(v)
	}
	// Output:
	// create Bob
	// create Ann
	// update Ann
}
